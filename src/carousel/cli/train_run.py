"""What `carousel train` does once its text, folder and device are known."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from carousel.cli.console import clock, console, one_thread
from carousel.cli.runs import find_run
from carousel.cli.train_command import Train
from carousel.cli.train_display import Display
from carousel.cli.train_report import show_event, sum_up, warning_of_the_disk
from carousel.data.default_prompt import opening_of
from carousel.errors import RunError
from carousel.generation.opening_sample import opening_sample
from carousel.training.fit import End, Validation, fit
from carousel.training.prepared_run import PreparedRun, RunRequest, prepare_run
from carousel.training.run_folder import RunFolder
from carousel.training.text_source import Source
from carousel.training.trainer import StepReport

EXIT_CODES: dict[int, int] = {
    getattr(signal, name): code
    for name, code in {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}.items()
    if hasattr(signal, name)  # Windows has no SIGHUP
}
_HANGUP: int | None = getattr(signal, "SIGHUP", None)
_TWICE = 0.5  # seconds within which two signals are one: `timeout` and job systems send two


def train(command: Train, source: Source, folder: RunFolder, device: str) -> int:
    """Prepare, train, sum up; return the exit code."""
    with _signals() as caught:
        try:
            request = RunRequest(
                settings=command.settings,
                device=device,
                resume=command.resume,
                init_from=command.init_from and find_run(command.init_from),
                threads=command.threads,
            )
            run = prepare_run(
                request,
                source,
                folder,
                notify=show_event,
                stop=lambda: caught.number is not None,
            )
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
    """Print what is saved, and return the signal's exit code."""
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
    """Discard further output if the terminal is gone, since writing would fail."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _watch(run: PreparedRun) -> tuple[End, Display]:
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


def _write_sample(run: PreparedRun) -> tuple[str, str]:
    """Generate a short sample, and save it in the run folder."""
    model, vocabulary = run.trainer.model, run.session.vocabulary
    model.eval()
    words = opening_of(run.session.config, vocabulary)
    prompt, pieces = opening_sample(model, vocabulary, words, 240)
    with one_thread():
        text = "".join(pieces)
    with warning_of_the_disk():
        run.session.folder.write_sample(run.trainer.step, prompt + text)
    return prompt, text
