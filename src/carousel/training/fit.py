"""A whole training run as a stream of events: steps, validations, checkpoints.

The caller iterates and does what it likes in between (draw, sample, print); nothing here prints.
A run that is stopped and resumed at any point yields what the uninterrupted one would have.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from carousel.data.range_view import IdSequence
from carousel.data.vocabulary import Vocabulary
from carousel.errors import DivergenceError, StorageError
from carousel.models.checkpoint import model_files
from carousel.models.evaluation import evaluate
from carousel.training.run_folder import RunFolder
from carousel.training.trainer import StepReport, Trainer, is_sound, state_files, train_step

Ending = Literal["finished", "no longer improving", "time is up", "interrupted"]
# Validation reads at most this many characters, in at most so many lanes of at least this length.
_VALIDATION_CHARACTERS, _VALIDATION_LANES, _LANE_LENGTH = 1_000_000, 64, 4_000


@dataclass
class Progress:
    """The validations of a run so far; saved with every checkpoint.

    Attributes:
        validated: Step of the last validation, 0 before the first.
        loss: Its loss in nats per character; None before the first.
        best_step: Step of the best one, 0 before the first.
        best_loss: Its loss; None before the first.
        stale: Validations since then.
    """

    validated: int = 0
    loss: float | None = None
    best_step: int = 0
    best_loss: float | None = None
    stale: int = 0


@dataclass(frozen=True)
class Validation:
    """A validation loss in nats per character, and whether it is the best so far."""

    step: int
    loss: float
    is_best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    step: int
    folder: Path


@dataclass(frozen=True)
class End:
    """Why training ended; the last event."""

    ending: Ending
    step: int


Event = StepReport | Validation | Saved | End


@dataclass(frozen=True)
class Session:
    """Everything that a run needs besides its trainer.

    Attributes:
        folder: Where it is written.
        vocabulary: Saved with the model.
        config: Tables for config.json.
        validation: Token ids of the held-out text.
        eval_every: Steps between validations.
        save_every: Steps between checkpoints.
        stop: Asked after each step and often while validating: True saves and ends the run.
        time_is_up: Asked after each step: True validates, saves and ends it.
        is_kept: Whether the folder stays when the run has ended; only advice depends on it.
    """

    folder: RunFolder
    vocabulary: Vocabulary
    config: Mapping[str, Any]
    validation: IdSequence
    eval_every: int
    save_every: int
    stop: Callable[[], bool] = lambda: False
    time_is_up: Callable[[], bool] = lambda: False
    is_kept: bool = True


def fit(trainer: Trainer, session: Session, progress: Progress) -> Iterator[Event]:
    """Train until the last step, the patience, the clock or the caller ends it.

    Raises:
        DivergenceError: If a step or a validation is not finite; the state before the step has been
            saved, and the message says what would help.
        StorageError: If the disk refuses; the message says which step is safe, and what would help.
    """
    unsaved = False
    while True:
        ending = _ending(trainer, session, progress)
        validation = None
        if _validation_is_due(trainer, session, progress, ending):
            validation = _validate(trainer, session, progress)
            ending = _ending(trainer, session, progress)
        if validation is not None:
            unsaved = True
            yield validation
        is_best = validation is not None and validation.is_best
        if unsaved and (ending or is_best or trainer.step % session.save_every == 0):
            yield Saved(trainer.step, _save(trainer, session, progress))
            unsaved = False
        if ending:
            yield End(ending, trainer.step)
            return
        try:
            report = train_step(trainer)
        except DivergenceError as error:
            try:
                if unsaved and is_sound(trainer):
                    _save(trainer, session, progress)
            except StorageError as refusal:
                raise DivergenceError(f"{error}; {refusal}") from None
            raise DivergenceError(f"{error}; {_advice(trainer, session)}") from None
        unsaved = True
        session.folder.log(asdict(report))
        yield report


def _ending(trainer: Trainer, session: Session, progress: Progress) -> Ending | None:
    """Return why the run is over at this step, or None."""
    if session.stop():
        return "interrupted"
    if trainer.step >= trainer.steps:
        return "finished"
    if session.time_is_up():
        return "time is up"
    return "no longer improving" if 0 < trainer.config.patience <= progress.stale else None


def _validation_is_due(
    trainer: Trainer, session: Session, progress: Progress, ending: Ending | None
) -> bool:
    if trainer.step in (0, progress.validated) or ending == "interrupted":
        return False
    if trainer.step % session.eval_every == 0:
        return True
    return ending in ("finished", "time is up")


def _validate(trainer: Trainer, session: Session, progress: Progress) -> Validation | None:
    """Measure the validation loss and note it in progress; None if the caller stopped it.

    Raises:
        DivergenceError: If it is not finite.
    """
    ids = session.validation[:_VALIDATION_CHARACTERS]
    lanes = max(1, min(_VALIDATION_LANES, len(ids) // _LANE_LENGTH))
    loss = evaluate(trainer.model, ids, lanes=lanes, proceed=lambda _: not session.stop())
    if loss is None:
        return None
    if not math.isfinite(loss):
        raise DivergenceError(
            f"step {trainer.step}: the validation loss is {loss}; {_advice(trainer, session)}"
        )
    is_best = progress.best_loss is None or loss < progress.best_loss
    progress.validated, progress.loss = trainer.step, loss
    progress.stale = 0 if is_best else progress.stale + 1
    if is_best:
        progress.best_step, progress.best_loss = trainer.step, loss
    session.folder.log({"step": trainer.step, "validation_loss": loss})
    return Validation(trainer.step, loss, is_best)


def _save(trainer: Trainer, session: Session, progress: Progress) -> Path:
    """Write down everything that the next step depends on."""
    config = {**session.config, "step": trainer.step, "progress": asdict(progress)}
    files = model_files(trainer.model, session.vocabulary, config) | state_files(trainer)
    return session.folder.save(trainer.step, files, best=progress.best_step or trainer.step)


def _advice(trainer: Trainer, session: Session) -> str:
    """Return advice for a run that diverged, and where its last good state is."""
    rate = f"--learning-rate {trainer.config.peak / 4:.2g}"
    if trainer.config.optimizer == "muon":
        rate = f"{rate} --muon-learning-rate {trainer.config.muon_learning_rate / 4:.2g}"
    if not session.folder.saved_steps():
        return f"nothing was saved yet: try a smaller step ({rate})"
    if not session.is_kept:
        return f"try a smaller step ({rate}), or a tighter --max-grad-norm"
    run = session.folder.path
    return (
        f"the last good state is kept in {run}: go on with --init-from {run} and a smaller "
        f"step ({rate}), or a tighter --max-grad-norm"
    )
