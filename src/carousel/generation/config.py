"""Settings of sampling; imports no torch."""

from dataclasses import dataclass
from typing import Literal

from carousel.limits import bounded, check_fields

Precision = Literal["float32", "bf16"]  # of matrix products; bf16 if the processor has it


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the next character is drawn. Values are checked on construction.

    Attributes:
        temperature: Divides the logits. Below 1 favours likely characters, above 1 unlikely ones;
            0 always takes the likeliest.
        top_k: Draw from this many of the likeliest characters only; None draws from all.
        top_p: Draw from the smallest set of likeliest characters that holds this probability; 1 is
            off.
        min_p: Exclude characters less likely than this fraction of the likeliest one; 0 is off.
        repetition_penalty: Multiplies the log-probability of recent characters, so that values
            above 1 make them rarer; 1 is off.
        repetition_window: Characters, prompt included, that count as recent.
        candidates: Samples of each sentence, which share its first two characters. The one with the
            highest mean log-probability is kept, among those that repeat no earlier text. 1 is
            off.
        seed: The same seed, settings, prompt and model give the same text.
    """

    temperature: float = bounded(0.8, at_least=0)
    top_k: int | None = bounded(None, at_least=1)
    top_p: float = bounded(1.0, above=0, at_most=1)
    min_p: float = bounded(0.0, at_least=0, at_most=1)
    repetition_penalty: float = bounded(1.0, above=0, at_most=100)
    repetition_window: int = bounded(128, at_least=1, at_most=1_000_000)
    candidates: int = bounded(1, at_least=1, at_most=64)
    seed: int = bounded(0, at_least=0, at_most=2**64 - 1)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: If a field has another type or is out of range; the message names it.
        """
        check_fields(self)


# The default of people who give no settings: the best of 72 settings by counts, of which five were
# read sentence by sentence (experiments/story).
DEFAULT_SAMPLING = SamplingConfig(temperature=0.6, top_p=0.9, candidates=12)
