"""A training run from a text to its end, as a stream of events: a loop of your own around ours."""

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from carousel.data.reading import PLAIN, Reading
from carousel.data.split import check_method
from carousel.errors import ConfigError, RunError, StorageError, name_arguments, python_words
from carousel.models.pretrained import by_name
from carousel.threads import kept_threads
from carousel.training.config import RunConfig
from carousel.training.devices import check_threads, choose_device
from carousel.training.fit import End, Saved, Validation, fit
from carousel.training.prepared_run import Notice, RunRequest, Started, prepare_run
from carousel.training.run_claim import claimed
from carousel.training.run_folder import RunFolder
from carousel.training.text_source import (
    Source,
    describe_control_characters,
    open_source,
    open_string,
)
from carousel.training.trainer import StepReport, random_state, set_random_state

RunEvent = Notice | Started | StepReport | Validation | Saved | End
AnyPath = str | os.PathLike[str]
LONGEST_NAME = 255  # characters that file systems allow in one name


def run(
    config: RunConfig | None = None,
    *paths: AnyPath,
    text: str | None = None,
    out: AnyPath | None = None,
    resume: bool = False,
    init_from: AnyPath | None = None,
    device: str = "auto",
    threads: int | None = None,
    reading: Reading = PLAIN,
    cache_dir: AnyPath | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[RunEvent, None, None]:
    """Train, and yield what happens: the plan, each step, each validation and checkpoint, the end.

    Nothing is printed. Between two events torch's random generators are the caller's; the number
    of threads is restored at the end. Leaving the loop stops the run at its last checkpoint; a
    `stop` that returns True saves the present step first. No text is sampled: `sample_every` is for
    `carousel.train` and the command line.

    Args:
        config: The settings, as `make_config` returns them; None: those of the preset "best".
        paths: Text files and folders of them; without any, and without text, the built-in tales.
        text: A text at hand, in place of paths.
        out: Folder of the run: new, empty, or a run to resume. None: a temporary folder, which is
            removed at the end.
        resume: Continue the run in out where it stopped; the other arguments must be as they were.
        init_from: A trained model whose weights to start from: a folder, or "story".
        device: "cpu", "cuda", "mps", or "auto": CUDA where there is one.
        threads: To compute with; None: as many as the products can feed.
        reading: How files become text.
        cache_dir: Where the prepared text is kept. None: the user's cache folder, or without out a
            temporary folder.
        stop: Asked after each step and often while validating: True saves and ends the run.

    Yields:
        `Notice`, `Started` (its trainer holds the model), `StepReport`, `Validation`, `Saved`, and
        at last `End`. Losses are in nats per character.

    Raises:
        CarouselError: If something does not fit; the message says what, where, and what would work.

    Example:
        >>> from carousel.training import End, make_config, run
        >>> config = make_config(hidden_size=16, steps=3)
        >>> for event in run(config, text="the cat sat on the mat. " * 200):
        ...     if isinstance(event, End):
        ...         print(event.ending, event.step)
        finished 3
    """
    if config is not None and not isinstance(config, RunConfig):
        raise ConfigError(f"config must be a RunConfig, as make_config returns, got {config!r}")
    if resume and out is None:
        raise ConfigError("resume needs out: the folder of the run to continue")
    check_threads(threads)
    return _run(
        RunRequest(
            settings=config or RunConfig(),
            device=device,
            resume=resume,
            init_from=None if init_from is None else find_model(init_from),
            threads=threads,
        ),
        as_paths(paths, text),
        text,
        None if out is None else as_path(out, "out"),
        reading,
        None if cache_dir is None else as_path(cache_dir, "cache_dir"),
        stop,
    )


def find_model(model: AnyPath) -> Path:
    """Return the folder of a trained model, or of one that ships, by its name.

    Raises:
        RunError: If there is none.
    """
    if (path := by_name(as_path(model, "init_from"))).exists():
        return path
    raise RunError(f"no such run: {model}; the model that ships is called story")


def as_path(path: AnyPath, name: str) -> Path:
    """Return a path; an empty one would be the working folder, which nobody means.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path) or "\0" in str(path):
        raise ConfigError(f"{name} must be the name of a file or folder, got {path!r}")
    return Path(path)


def as_paths(paths: tuple[AnyPath, ...], text: str | None) -> tuple[Path, ...]:
    """Return the paths of a text, which is not given as a string too.

    Raises:
        ConfigError: If it is, or a path is none.
    """
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"text must be a str, got {type(text).__name__}")
    if text is not None and paths:
        raise ConfigError(f"give text or paths, not both: text is a string, {paths[0]} a path")
    for path in paths:
        if isinstance(path, str) and _is_text(path):
            raise ConfigError(
                "a path has several lines, or hundreds of characters without a separator: "
                "a text at hand is given as text=…"
            )
    return tuple(as_path(path, "a path") for path in paths)


def _is_text(path: str) -> bool:
    """Return whether a string cannot be the path that it is given as: no file system has it."""
    longest = max(map(len, Path(path).parts), default=0)
    return ("\n" in path or longest > LONGEST_NAME) and not os.path.lexists(path)


def _run(
    request: RunRequest,
    paths: tuple[Path, ...],
    text: str | None,
    out: Path | None,
    reading: Reading,
    cache: Path | None,
    stop: Callable[[], bool],
) -> Generator[RunEvent, None, None]:
    """Run, after the arguments have been checked."""
    data = request.settings.data
    with ExitStack() as stack:
        stack.enter_context(python_words())
        check_method(data.split, data.index)
        device = choose_device(request.device)
        request = replace(request, device=device, is_kept=out is not None)
        if out is None:
            temporary = Path(stack.enter_context(_temporary_folder()))
            out, cache = temporary / "run", cache or temporary / "cache"
        source = _open(paths, text, reading, cache, is_exact=request.resume)
        if warning := describe_control_characters(source.corpus):
            yield _in_python(Notice("warning", warning))
        folder = stack.enter_context(claimed(out))
        stack.enter_context(kept_threads())
        events = _with_own_generators(_events(request, source, folder, stop), device)
        yield from stack.enter_context(closing(events))


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Yield a new folder that is removed at the end; what cannot be written there says so.

    Raises:
        StorageError: If the disk refuses.
    """
    is_mapped = sys.platform == "win32"  # and cannot be removed there while the text is in use
    with TemporaryDirectory(prefix="carousel-", ignore_cleanup_errors=is_mapped) as folder:
        try:
            yield folder
        except StorageError as error:
            reason = str(error).rsplit("; ", 1)[0]
            raise StorageError(f"{reason}; without out a run needs room in {folder}") from None


def _open(
    paths: tuple[Path, ...], text: str | None, reading: Reading, cache: Path | None, is_exact: bool
) -> Source:
    """Prepare the text of a run."""
    if text is None:
        return open_source(paths, reading, cache, is_exact=is_exact)
    return open_string(text, cache, is_exact=is_exact)


def _in_python(event: Notice | Started) -> Notice | Started:
    """Return an event whose message names arguments, not flags."""
    if isinstance(event, Notice):
        return replace(event, message=name_arguments(event.message))
    return event


def _events(
    request: RunRequest, source: Source, folder: RunFolder, stop: Callable[[], bool]
) -> Generator[RunEvent, None, None]:
    """Yield the events of a run in its folder, whose lock is held."""
    early: list[Notice | Started] = []
    run = prepare_run(request, source, folder, notify=early.append, stop=stop)
    yield from map(_in_python, early)
    for event in fit(run.trainer, run.session, run.progress):
        if isinstance(event, End) and event.ending == "time is up" and not folder.saved_steps():
            limit = request.settings.training.time_limit
            raise RunError(f"time_limit {limit:g} ended before the first step: give it more")
        yield event


def _with_own_generators(
    events: Generator[RunEvent, None, None], device: str
) -> Generator[RunEvent, None, None]:
    """Yield events that are computed with random generators of their own.

    What a caller draws between two events changes nothing of the run, and the run nothing of what
    the caller draws.
    """
    place = torch.device(device)
    own: dict[str, Tensor] | None = None
    with closing(events):
        while True:
            outer = random_state(place)
            if own is not None:
                set_random_state(own)
            try:
                event = next(events, None)
            finally:
                own = random_state(place)
                set_random_state(outer)
            if event is None:
                return
            yield event
