"""How long to train, and with what step size: pure functions of the step number."""

import math

from carousel.training.config import TrainingConfig

# Characters to read: about eight times through the text, but for small texts 4 M and for large
# ones 160 M, where a step of 64 × 128 characters makes 500 and 20,000 steps.
_PASSES, _FEWEST, _MOST = 8, 4_096_000, 163_840_000


def steps_for(characters: int, config: TrainingConfig) -> int:
    """Return how many steps suit a text of this many characters."""
    reading = min(max(_PASSES * characters, _FEWEST), _MOST)
    return max(1, round(reading / (config.batch_size * config.sequence_length)))


def lr_scale(step: int, steps: int, config: TrainingConfig) -> float:
    """Return how much of the peak learning rate step number `step`, from 1, of `steps` takes.

    It rises linearly over warmup_steps, or a tenth of a shorter run, and then stays, or falls to
    zero just after the last step, linearly or along half a cosine.
    """
    warmup = min(config.warmup_steps, steps // 10)
    if step <= warmup:
        return step / (warmup + 1)
    rest = (step - 1 - warmup) / max(1, steps - warmup)  # in [0, 1)
    if config.schedule == "linear":
        return max(0.0, 1 - rest)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))
    return 1.0
