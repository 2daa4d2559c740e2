"""What `carousel train` does once its text, folder and device are known."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, NamedTuple

import torch

from carousel.cli.console import (
    clock,
    console,
    memory_of,
    one_thread,
    use_available_processors,
)
from carousel.cli.parts import describe, floor_of, make_parts, warn_of_repeated
from carousel.cli.runs import find_run
from carousel.cli.text_source import Source
from carousel.cli.train import Train
from carousel.cli.train_display import Display
from carousel.cli.train_report import announce, sum_up, warning_of_the_disk, writing
from carousel.data.corpus import Corpus
from carousel.data.default_prompt import opening_of
from carousel.data.duplicates import duplicates
from carousel.data.range_view import part, total
from carousel.data.split import Split, sha256
from carousel.errors import RunError, TextError
from carousel.models.checkpoint import load_model
from carousel.training.config import RunConfig
from carousel.training.fit import End, Progress, Session, Validation, fit
from carousel.training.memory import check_memory
from carousel.training.resume import resume
from carousel.training.run_folder import RunFolder
from carousel.training.setup import (
    choose_precision,
    config_table,
    new_trainer,
    resolve,
    seconds_per_step,
    shorten,
    threads_for,
    transplant,
)
from carousel.training.trainer import StepReport, Trainer

EXIT_CODES: dict[int, int] = {
    getattr(signal, name): code
    for name, code in {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}.items()
    if hasattr(signal, name)  # Windows has no SIGHUP
}
_HANGUP: int | None = getattr(signal, "SIGHUP", None)
_TWICE = 0.5  # seconds within which two signals are one: `timeout` and job systems send two


class Run(NamedTuple):
    """A run ready to go."""

    trainer: Trainer
    session: Session
    progress: Progress
    floor: float | None


def train(command: Train, source: Source, folder: RunFolder, device: str) -> int:
    """Prepare, train, sum up; return the exit code."""
    with _signals() as caught:
        try:
            precision = choose_precision(command.settings, device)
            command = replace(command, training=replace(command.training, precision=precision))
            run = _prepare(command, source, folder, device, caught)
            caught.at_work = True
            end, display = _watch(run)
        except _Stopped as stopped:
            return _interrupted(folder, stopped.number)
        finally:
            folder.close()
    if end.ending == "interrupted" and caught.number is not None:
        return _interrupted(folder, caught.number)
    if not folder.saved_steps():
        limit = command.training.time_limit
        raise RunError(f"the time limit of {limit:g} s ended before the first step: give it more")
    sum_up(command, folder, run.progress, run.floor, end, display)
    return 0


def _interrupted(folder: RunFolder, number: int) -> int:
    """Say what is saved, and return the signal's exit code."""
    saved = [step for step in folder.saved_steps() if folder.is_whole(step)]
    kept = (
        f"step {saved[-1]:,} is saved in {folder.path}; "
        "the same command with --resume goes on from there"
        if saved
        else "before the first step; nothing to save"
    )
    console.print_line(f"interrupted: {kept}", style="yellow")
    return EXIT_CODES[number]


class _Stopped(BaseException):
    """A signal came before training was at work.

    Not a KeyboardInterrupt: one that passes through exec("…"), as in many an import, makes Python
    die of SIGINT in the end, whatever exit code it was given.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class _Caught:
    """The first signal, and whether training is at work: it then saves, and ends by itself."""

    number: int | None = None
    at_work: bool = False


@contextmanager
def _signals() -> Iterator[_Caught]:
    """Note the first signal instead of obeying it; a second one, but for a hangup, is obeyed.

    Before training is at work there is nothing to save: the first one then raises _Stopped too.
    """
    caught, first = _Caught(), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if caught.number is None:
            caught.number, first = number, clock()
            if number == _HANGUP:
                _leave_a_closed_terminal()
            if not caught.at_work:
                raise _Stopped(number)
        elif number != _HANGUP and clock() - first > _TWICE:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    before: dict[int, Any] = {number: signal.getsignal(number) for number in EXIT_CODES}
    if _HANGUP is not None and before[_HANGUP] is signal.SIG_IGN:  # by nohup
        del before[_HANGUP]
    for number in before:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_a_closed_terminal() -> None:
    """Let what is still to be said go nowhere where the terminal is gone: writing would fail."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _prepare(
    command: Train, source: Source, folder: RunFolder, device: str, caught: _Caught
) -> Run:
    """Build the trainer, fresh or resumed, and say what is going to happen."""
    corpus, given = source.corpus, command.settings
    parts = make_parts(corpus, given.data)
    validation_ids = part(corpus.ids, parts["validation"])
    if len(validation_ids) < 2:
        raise TextError(f"{corpus.name} has {len(corpus)} characters: too few to validate on")
    if folder.saved_steps() and not command.resume:
        raise RunError(
            f"{folder.path} already holds a run: --resume continues it, another --out starts anew"
        )
    folder.prepare()
    begun = _resumed(command, corpus, parts, folder, device)
    if begun is None:
        begun = _fresh(command, corpus, parts, folder, device)
    trainer, settings, progress, threads = begun
    seconds = seconds_per_step(trainer)
    if trainer.step == 0:
        settings = shorten(given, settings, total(parts["train"]), seconds)
        trainer.config, trainer.steps = settings.training, settings.training.steps or 0
    announce(command, source, parts, trainer, folder.path, seconds)
    repeated = duplicates(corpus, parts)
    warn_of_repeated(repeated)
    about = describe(corpus, parts, repeated)
    stop_at = clock() + (given.training.time_limit or float("inf"))
    session = Session(
        folder=folder,
        vocabulary=corpus.vocabulary,
        config=config_table(given, settings, about) | {"threads": threads},
        validation=validation_ids,
        eval_every=settings.training.eval_every or 1,
        save_every=settings.training.save_every or 1,
        stop=lambda: caught.number is not None,
        time_is_up=lambda: clock() > stop_at,
    )
    return Run(trainer, session, progress, floor_of(source, parts["validation"]))


class _Begun(NamedTuple):
    """A trainer, at its first step or at a later one, and what goes with it."""

    trainer: Trainer
    settings: RunConfig
    progress: Progress
    threads: int


def _resumed(
    command: Train, corpus: Corpus, parts: Split, folder: RunFolder, device: str
) -> _Begun | None:
    """Put the run back to where it stopped; None if there is nothing to go on with."""
    resumed = resume(
        folder,
        command.settings,
        corpus=corpus.sha256,
        ids=part(corpus.ids, parts["train"]),
        device=device,
        split=sha256(parts),
    )
    if resumed is None:
        return None
    step = resumed.trainer.step
    for fault in resumed.faults:
        warning = f"warning: {fault}; falling back to step {step:,}"
        console.print_line(warning, style="yellow")
    console.print_line(f"resuming {folder.path} from step {step:,}", style="bold")
    threads = resumed.threads or torch.get_num_threads()
    torch.set_num_threads(threads)  # sums may be grouped by thread
    return _Begun(resumed.trainer, resumed.settings, resumed.progress, threads)


def _fresh(command: Train, corpus: Corpus, parts: Split, folder: RunFolder, device: str) -> _Begun:
    """Build a trainer at step 0, with the weights of another run where they are asked for."""
    if command.resume:
        console.print("warning: nothing to resume; starting at step 0", style="yellow")
    folder.clear()
    train_ids, vocabulary = part(corpus.ids, parts["train"]), corpus.vocabulary
    model, length = command.model, command.training.sequence_length
    if model.positions == "learned" and model.context > length:
        console.print_line(
            f"note: windows of {length} characters train the first {length} of the "
            f"{model.context} learned positions only",
        )
    settings = resolve(command.settings, len(train_ids))
    check_memory(settings, len(vocabulary), memory_of(device))
    trainer = new_trainer(settings, len(vocabulary), train_ids, device)
    if command.init_from is not None:
        trained = load_model(find_run(command.init_from), device=device)
        shared = transplant(trained, trainer.model, vocabulary)
        console.print_line(
            f"starting from {trained.folder}: {shared} of {len(vocabulary)} characters are known",
        )
    use_available_processors()
    threads = command.threads or threads_for(settings, torch.get_num_threads())
    torch.set_num_threads(threads)
    return _Begun(trainer, settings, Progress(), threads)


def _watch(run: Run) -> tuple[End, Display]:
    """Train to the end while showing how it goes."""
    trainer, settings = run.trainer, run.trainer.config
    per_step = settings.batch_size * settings.sequence_length
    sample_every = settings.sample_every or 0
    with Display(trainer.steps, per_step, run.floor) as display:
        events = fit(trainer, run.session, run.progress)
        while True:
            before = clock()
            event = next(events)
            match event:
                case StepReport():
                    display.step(event, clock() - before)
                    if sample_every and event.step % sample_every == 0:
                        display.sample(*_write_sample(run))
                case Validation():
                    display.validation(event.step, event.loss, event.is_best)
                case End():
                    return event, display


def _write_sample(run: Run) -> tuple[str, str]:
    """Let the model write a little, and keep it in the run folder."""
    model, vocabulary = run.trainer.model, run.session.vocabulary
    model.eval()
    words = opening_of(run.session.config, vocabulary)
    prompt, pieces = writing(model, vocabulary, words, 240)
    with one_thread():
        text = "".join(pieces)
    with warning_of_the_disk():
        run.session.folder.write_sample(run.trainer.step, prompt + text)
    return prompt, text
