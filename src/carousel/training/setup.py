"""From settings and a text to a trainer: fresh, or from another model's weights."""

import copy
import math
import time
from dataclasses import asdict, replace
from typing import Any, Literal

import torch

from carousel.data.batches import ContiguousBatches, RandomWindows
from carousel.data.range_view import IdSequence
from carousel.data.vocabulary import Vocabulary
from carousel.errors import ConfigError
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import TrainedModel
from carousel.models.families import FAMILIES
from carousel.models.language_model import build
from carousel.training.config import RunConfig, to_tables
from carousel.training.optimizers import build_optimizers
from carousel.training.schedule import steps_for
from carousel.training.trainer import (
    Trainer,
    backpropagate,
    random_state,
    set_random_state,
)

_BESIDE_MUON = 0.016  # learning rate of AdamW beside Muon (experiments/LOG.md)

# Of a time limit, so much is filled with steps.
_FOR_STEPS = 0.65

# "auto" takes lanes where each of them is at least this many windows long.
_WINDOWS_PER_LANE = 4


def resolve(given: RunConfig, characters: int) -> RunConfig:
    """Decide what the settings leave open, from the number of characters to train on.

    Raises:
        ConfigError: If the model's positions end before a window, or a lane, does.
    """
    config = given.training
    window = config.batch_size * config.sequence_length
    batching = config.batching
    _check_positions(given)
    if batching == "auto":
        fills_lanes = characters >= _WINDOWS_PER_LANE * window
        has_end = given.model.max_length is not None
        batching = "lanes" if fills_lanes and not has_end else "windows"
    has_muon = config.optimizer == "muon"
    rate = _BESIDE_MUON if has_muon else FAMILIES[given.model.model].learning_rate
    steps = config.steps or steps_for(characters, config)
    eval_every = config.eval_every or max(25, math.ceil(steps / 20))
    resolved = replace(
        config,
        batching=batching,
        learning_rate=config.learning_rate or rate,
        steps=steps,
        eval_every=eval_every,
        save_every=config.save_every or eval_every,
        sample_every=4 * eval_every if config.sample_every is None else config.sample_every,
    )
    return replace(given, training=resolved)


def choose_precision(given: RunConfig, device: str) -> Literal["float32", "bf16"]:
    """Return the precision; "auto" is bf16 where a kernel multiplies it natively, else float32.

    The LSTM trains as well in it as in float32 (RESULTS.md). May compile the kernels.
    """
    if given.training.precision != "auto":
        return given.training.precision
    has_kernel = device == "cpu" and given.model.has_fused_kernel
    is_native = has_kernel and fused.unavailable_reason(torch.bfloat16) is None
    return "bf16" if is_native else "float32"


def _check_positions(given: RunConfig) -> None:
    model, config = given.model, given.training
    if model.max_length is None:
        return
    if config.sequence_length > model.max_length:
        raise ConfigError(
            f"{model.position_kind} positions end after context_length {model.max_length}, "
            f"and sequence_length is {config.sequence_length}"
        )
    if config.batching == "lanes":
        raise ConfigError(
            f"batching lanes reads on without end, and {model.position_kind} positions end after "
            f"context_length {model.max_length}: batching windows would work"
        )


def new_trainer(config: RunConfig, vocab_size: int, ids: IdSequence, device: str) -> Trainer:
    """Build a trainer at step 0 from resolved settings; the seed decides its weights.

    Raises:
        TextError: If the text is too short for one window.
    """
    settings = config.training
    kind = ContiguousBatches if settings.batching == "lanes" else RandomWindows
    batches = kind(ids, settings.batch_size, settings.sequence_length, settings.seed)
    torch.manual_seed(settings.seed)
    model = build(config.model, vocab_size).to(device)
    assert settings.steps is not None, "resolve() comes first"
    return Trainer(model, build_optimizers(model, settings), batches, settings, settings.steps)


def config_table(given: RunConfig, resolved: RunConfig, corpus: dict[str, Any]) -> dict[str, Any]:
    """Return what config.json says of a run: resolved settings, those given, and the text."""
    return {**asdict(resolved), "settings": to_tables(given), "corpus": corpus}


@torch.no_grad()
def init_from(source: TrainedModel, target: LanguageModel, vocabulary: Vocabulary) -> int:
    """Copy a trained model's weights into a fresh one, matching characters; return how many do.

    Rows that belong to a character (of the embedding, the output and its bias) go to the same
    character of the new alphabet; characters that the source never saw keep their fresh rows.

    Raises:
        ConfigError: If the two models differ in their layers or sizes.
    """
    shared = [c for c in vocabulary.itos if c in source.vocabulary.stoi]
    here = torch.tensor([vocabulary.stoi[c] for c in shared], dtype=torch.long)
    there = torch.tensor([source.vocabulary.stoi[c] for c in shared], dtype=torch.long)
    given, own = dict(source.model.named_parameters()), dict(target.named_parameters())
    if different := sorted(given.keys() ^ own.keys()):
        holder = "this model" if different[0] in own else source.folder
        raise ConfigError(f"--init-from: with these settings only {holder} has {different[0]}")
    for name, parameter in own.items():
        per_character = name.startswith(("embedding.", "output."))
        rows, from_rows = (here, there) if per_character else (slice(None), slice(None))
        if parameter[rows].shape != given[name][from_rows].shape:
            raise ConfigError(
                f"--init-from: {name} is {tuple(given[name].shape)} in {source.folder}, "
                f"{tuple(parameter.shape)} with these settings"
            )
        parameter[rows] = given[name][from_rows].to(parameter.device)
    return len(shared)


def fit_time_limit(
    given: RunConfig, resolved: RunConfig, characters: int, seconds: float
) -> RunConfig:
    """Fit the schedule into the time limit, from the seconds that a step takes.

    The rest of the time is for validations, samples, and a machine that slows down.
    """
    limit, steps = given.training.time_limit, resolved.training.steps
    if limit is None or steps is None or steps * seconds <= _FOR_STEPS * limit:
        return resolved
    fitting = max(1, int(_FOR_STEPS * limit / seconds))
    return resolve(replace(given, training=replace(given.training, steps=fitting)), characters)


def threads_for(config: RunConfig, available: int) -> int:
    """Return with how many threads to compute: one for each million multiplications of a product.

    Threads meet after every product, of a recurrence in every time step; fed with less, they cost
    more than they give. It follows from the settings alone, for sums may be grouped by thread: the
    same command gives the same bits.
    """
    model, training = config.model, config.training
    hidden, rows = model.hidden_size, training.batch_size
    if model.is_recurrent:
        multiplications = rows * hidden * 4 * hidden
    else:  # of all positions at once
        multiplications = rows * training.sequence_length * hidden * model.embedding_size
    return max(1, min(available, multiplications // 1_000_000))


def seconds_per_step(trainer: Trainer, repeats: int = 5) -> float:
    """Measure steps of a copy, at a rate of zero: they can neither change nor diverge anything.

    The quickest of some repeats: whatever else the machine does can only make one slower.
    """
    model = copy.deepcopy(trainer.model)
    trial = replace(trainer, model=model, optimizers=build_optimizers(model, trainer.config))
    device = next(model.parameters()).device
    generators = random_state(device)
    batch = trial.batches.batch(0)

    def step() -> float:
        start = time.perf_counter()
        backpropagate(trial, batch, None)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        trial.optimizers.step(0.0)
        model.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    step()
    seconds = min(step() for _ in range(repeats))
    set_random_state(generators)
    return seconds
