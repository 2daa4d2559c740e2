"""From a text, settings and a folder to a run that is ready to train, fresh or resumed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from carousel.data.corpus import Corpus
from carousel.data.duplicates import duplicates
from carousel.data.range_view import part, total
from carousel.data.split import Split, sha256
from carousel.errors import RunError, TextError
from carousel.models.checkpoint import load_model
from carousel.threads import use_available_processors
from carousel.training.config import RunConfig
from carousel.training.devices import memory_of
from carousel.training.fit import Progress, Session
from carousel.training.memory import check_memory
from carousel.training.resume import resume
from carousel.training.run_folder import RunFolder
from carousel.training.setup import (
    choose_precision,
    config_table,
    fit_time_limit,
    init_from,
    new_trainer,
    resolve,
    seconds_per_step,
    threads_for,
)
from carousel.training.text_parts import describe, describe_repeated, floor_of, make_parts
from carousel.training.text_source import Source
from carousel.training.trainer import Trainer


@dataclass(frozen=True)
class Notice:
    """Something to tell the user; it ends nothing.

    Attributes:
        kind: How much it matters; "resumed" names the step a run goes on from, "init_from" the
            model it starts from.
        message: One line.
    """

    kind: Literal["note", "warning", "resumed", "init_from"]
    message: str


@dataclass(frozen=True, eq=False)
class Started:
    """The plan of a run, before anything takes long.

    Attributes:
        source: The text.
        parts: Its parts for training, validation and test.
        settings: Those of the run, resolved.
        trainer: The model, at its first step or at a later one; `trainer.model` is trained in
            place.
        folder: Where the run is written.
        seconds_per_step: Measured on a copy.
        floor: The least possible validation loss in nats per character, where it is known.
    """

    source: Source
    parts: Split
    settings: RunConfig
    trainer: Trainer
    folder: RunFolder
    seconds_per_step: float
    floor: float | None


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The settings of a run, besides its text and folder.

    Attributes:
        settings: As they were given; what they leave open follows from the text.
        device: "cpu", "cuda" or "mps".
        resume: Continue the run in the folder, if there is one.
        init_from: A trained model whose weights a fresh run starts from.
        threads: To compute with; None: as many as the products can feed.
        is_kept: Whether the folder stays when the run has ended.
    """

    settings: RunConfig
    device: str
    resume: bool = False
    init_from: Path | None = None
    threads: int | None = None
    is_kept: bool = True


class PreparedRun(NamedTuple):
    """A run ready to go: the arguments of `fit`, and the least possible loss."""

    trainer: Trainer
    session: Session
    progress: Progress
    floor: float | None


class _Begun(NamedTuple):
    """A trainer, at its first step or at a later one, and what goes with it."""

    trainer: Trainer
    settings: RunConfig
    progress: Progress
    threads: int


def prepare_run(
    request: RunRequest,
    source: Source,
    folder: RunFolder,
    *,
    notify: Callable[[Notice | Started], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> PreparedRun:
    """Build the trainer, fresh or resumed, and tell what is going to happen.

    The number of threads is left as the run needs it.

    Args:
        request: What to do.
        source: The text.
        folder: Of the run; hold its lock.
        notify: Called with notices and the plan as soon as they are known.
        stop: Asked after each step and often while validating: True saves and ends the run.

    Raises:
        TextError: If the text is too short.
        RunError: If the folder holds a run that is not to be resumed, or cannot be.
        ConfigError: If the settings do not fit the text, the memory or the model to start from.
    """
    precision = choose_precision(request.settings, request.device)
    training = replace(request.settings.training, precision=precision)
    given = replace(request.settings, training=training)
    request = replace(request, settings=given)
    corpus = source.corpus
    parts = make_parts(corpus, given.data)
    validation_ids = part(corpus.ids, parts["validation"])
    if len(validation_ids) < 2:
        raise TextError(f"{corpus.name} has {len(corpus)} characters: too few to validate on")
    if folder.saved_steps() and not request.resume:
        raise RunError(
            f"{folder.path} already holds a run: --resume continues it, another --out starts anew"
        )
    folder.prepare()
    begun = _resumed(request, corpus, parts, folder, notify)
    if begun is None:
        begun = _fresh(request, corpus, parts, folder, notify)
    trainer, settings, progress, threads = begun
    seconds = seconds_per_step(trainer)
    if trainer.step == 0:
        settings = fit_time_limit(given, settings, total(parts["train"]), seconds)
        trainer.config, trainer.steps = settings.training, settings.training.steps or 0
    floor = floor_of(source, parts["validation"])
    notify(Started(source, parts, settings, trainer, folder, seconds, floor))
    repeated = duplicates(corpus, parts)
    if warning := describe_repeated(repeated):
        notify(Notice("warning", warning))
    about = describe(corpus, parts, repeated)
    stop_at = time.perf_counter() + (given.training.time_limit or float("inf"))
    session = Session(
        folder=folder,
        vocabulary=corpus.vocabulary,
        config=config_table(given, settings, about) | {"threads": threads},
        validation=validation_ids,
        eval_every=settings.training.eval_every or 1,
        save_every=settings.training.save_every or 1,
        stop=stop,
        time_is_up=lambda: time.perf_counter() > stop_at,
        is_kept=request.is_kept,
    )
    return PreparedRun(trainer, session, progress, floor)


def _resumed(
    request: RunRequest,
    corpus: Corpus,
    parts: Split,
    folder: RunFolder,
    notify: Callable[[Notice], None],
) -> _Begun | None:
    """Restore a run to where it stopped; None if there is no checkpoint."""
    resumed = resume(
        folder,
        request.settings,
        corpus=corpus.sha256,
        ids=part(corpus.ids, parts["train"]),
        device=request.device,
        split=sha256(parts),
    )
    if resumed is None:
        return None
    step = resumed.trainer.step
    for fault in resumed.faults:
        notify(Notice("warning", f"{fault}; falling back to step {step:,}"))
    notify(Notice("resumed", f"resuming {folder.path} from step {step:,}"))
    threads = resumed.threads or torch.get_num_threads()
    torch.set_num_threads(threads)  # sums may be grouped by thread
    return _Begun(resumed.trainer, resumed.settings, resumed.progress, threads)


def _fresh(
    request: RunRequest,
    corpus: Corpus,
    parts: Split,
    folder: RunFolder,
    notify: Callable[[Notice], None],
) -> _Begun:
    """Build a trainer at step 0, with the weights of another run where they are asked for."""
    given, device = request.settings, request.device
    if request.resume:
        notify(Notice("warning", "nothing to resume; starting at step 0"))
    folder.clear()
    train_ids, vocabulary = part(corpus.ids, parts["train"]), corpus.vocabulary
    model, length = given.model, given.training.sequence_length
    if model.learned_positions > length:
        notify(
            Notice(
                "note",
                f"windows of {length} characters train the first {length} of the "
                f"{model.learned_positions} learned positions only",
            )
        )
    settings = resolve(given, len(train_ids))
    check_memory(settings, len(vocabulary), memory_of(device))
    trainer = new_trainer(settings, len(vocabulary), train_ids, device)
    if request.init_from is not None:
        trained = load_model(request.init_from, device=device)
        shared = init_from(trained, trainer.model, vocabulary)
        known = f"{shared} of {len(vocabulary)} characters are known"
        notify(Notice("init_from", f"starting from {trained.folder}: {known}"))
    use_available_processors()
    threads = request.threads or threads_for(settings, torch.get_num_threads())
    torch.set_num_threads(threads)
    return _Begun(trainer, settings, Progress(), threads)
