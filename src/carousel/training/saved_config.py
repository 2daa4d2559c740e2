"""Read the run's state from config.json of a checkpoint, and check it before resuming."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from carousel.errors import CarouselError, CheckpointError, shorten
from carousel.tables import from_table
from carousel.training.config import run_config
from carousel.training.fit import Progress

MOST_THREADS = 4096  # more than any machine has processors
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_STEPS = 1 << 53


class SavedRun(NamedTuple):
    """The part of config.json that a resumed run continues from.

    Attributes:
        split_sha256: Of the parts of the text; None where it does not say.
        threads: With which it computed; None where it does not say.
        progress: What was known of validations.
    """

    split_sha256: str | None
    threads: int | None
    progress: Progress


def saved_run(config: Mapping[str, Any], path: Path, step: int) -> SavedRun:
    """Return what config.json says of its run, after all that a resumed run reads was checked.

    Args:
        config: The content of the file.
        path: Of it, for messages.
        step: Of the checkpoint.

    Raises:
        CheckpointError: If something is missing, of another type or impossible; the message names
            the file and the field.
    """
    try:
        corpus = _field(config, "corpus", dict)
        _field(corpus, "name", str, "corpus.")
        for name in ("sha256", "split_sha256"):
            if name in corpus and not _SHA256.fullmatch(_field(corpus, name, str, "corpus.")):
                raise CheckpointError(f"corpus.{name} must be 64 hexadecimal digits")
        _field(corpus, "sha256", str, "corpus.")
        _check_counts(corpus)
        if _field(config, "step", int) != step:
            raise CheckpointError(f"step must be {step}, got {shorten(config['step'])}")
        settings = _field(config, "settings", dict)
        for name in settings:
            _field(settings, name, dict, "settings.")
        run_config(("config.json", settings))
        steps = _field(_field(config, "training", dict), "steps", int, "training.")
        _check_range("training.steps", steps, 1, _MOST_STEPS)
        threads = None
        if "threads" in config:
            threads = _field(config, "threads", int)
            _check_range("threads", threads, 1, MOST_THREADS)
        progress = from_table(Progress, _field(config, "progress", dict))
        _check_progress(progress, step)
        return SavedRun(corpus.get("split_sha256"), threads, progress)
    except CarouselError as error:
        raise CheckpointError(f"{path} is not as it was written: {shorten(error)}") from None


def check_best(progress: Progress, records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Refuse a best loss that metrics.jsonl does not have; without its line, nothing is compared.

    Raises:
        CheckpointError: If it has another one; the message names both.
    """
    for record in records:
        if record["step"] == progress.best_step and "validation_loss" in record:
            measured = record["validation_loss"]
            if progress.best_loss != measured:
                raise CheckpointError(
                    f"{path} is not as it was written: progress.best_loss is {progress.best_loss}, "
                    f"and metrics.jsonl has {measured} at step {progress.best_step}"
                )


def _field(table: Mapping[str, Any], name: str, kind: type, where: str = "") -> Any:
    """Return a field of a table if it is of this very type: True is no whole number here."""
    if name not in table:
        raise CheckpointError(f"{where}{name} is missing")
    if type(table[name]) is not kind:
        words = {dict: "a table", str: "a text", int: "a whole number"}[kind]
        raise CheckpointError(f"{where}{name} must be {words}, got {shorten(repr(table[name]))}")
    return table[name]


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise CheckpointError(f"{name} must be from {least} to {most}, got {shorten(value)}")


def _check_counts(corpus: Mapping[str, Any]) -> None:
    """Refuse sizes that no text has; a checkpoint of an earlier version may lack them."""
    if "characters" not in corpus:
        return
    characters = _field(corpus, "characters", int, "corpus.")
    _check_range("corpus.characters", characters, 1, _MOST_STEPS)
    parts = _field(corpus, "parts", dict, "corpus.")
    for part in parts:
        size = _field(parts, part, int, "corpus.parts.")
        _check_range(f"corpus.parts.{shorten(part)}", size, 0, characters)


def _check_progress(progress: Progress, step: int) -> None:
    """Refuse validations of steps that the checkpoint does not know, and losses that none has."""
    _check_range("progress.validated", progress.validated, 0, step)
    _check_range("progress.best_step", progress.best_step, 0, step)
    _check_range("progress.stale", progress.stale, 0, _MOST_STEPS)
    for name in ("loss", "best_loss"):
        value = getattr(progress, name)
        if value is not None and not 0 <= value < math.inf:
            raise CheckpointError(f"progress.{name} must be finite and not negative, got {value}")
