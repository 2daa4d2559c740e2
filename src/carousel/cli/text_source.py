"""The text a command works on: the user's files, folders or pipe, or the built-in tales."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from carousel.cli.console import can_redraw, console
from carousel.cli.progress import VisibleProgress
from carousel.data.corpus import Corpus, name_of, prepare
from carousel.data.duplicates import Repeated
from carousel.data.reading import PLAIN, Reading
from carousel.data.stdin_file import spooled
from carousel.errors import TextError, UsageError
from carousel.files import user_cache_folder
from carousel.training.text_parts import describe_repeated
from carousel.training.text_source import Source, describe_control_characters, open_tales

STDIN = Path("-")


class Prepared(NamedTuple):
    """A corpus, and whether it was there already."""

    corpus: Corpus
    was_kept: bool


def open_source(
    paths: tuple[Path, ...],
    reading: Reading = PLAIN,
    cache: Path | None = None,
    *,
    is_exact: bool = False,
) -> Source:
    """Prepare the text (the first time with a progress bar), or write the tales.

    Args:
        paths: Files, folders, and - for stdin; none for the tales.
        reading: How bytes become text.
        cache: Where prepared texts are kept; None takes the user's cache folder.
        is_exact: Whether a kept text is compared with its hash, as a run that goes on needs it.
    """
    if paths:
        corpus = prepare_shown(paths, reading, cache, is_exact=is_exact).corpus
        warn_of_control_characters(corpus)
        return Source(corpus, None)
    return open_tales(cache, is_exact=is_exact)


def prepare_shown(
    paths: tuple[Path, ...], reading: Reading, cache: Path | None, *, is_exact: bool = False
) -> Prepared:
    """Prepare files, folders and - for stdin, with a bar on a terminal that shows how far it is."""
    phases = set[str]()
    progress = VisibleProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not can_redraw(console),
    )
    with _stdin_in_a_file(paths, cache or user_cache_folder()) as files:

        def show(phase: str, done: int, total: int) -> None:
            if phase not in phases:  # the one before is done
                for task in progress.task_ids:
                    progress.remove_task(task)
                progress.add_task(phase, total=total)
            if not phases:  # with nothing to show, a bar leaves a blank line
                progress.start()
            phases.add(phase)
            progress.update(progress.task_ids[-1], completed=done)

        name = name_of([Path("stdin") if path == STDIN else path for path in paths])
        try:
            corpus = prepare(
                files, reading=reading, cache=cache, name=name, progress=show, is_exact=is_exact
            )
        finally:
            if phases:
                progress.stop()
    return Prepared(corpus, "writing" not in phases)


def warn_of_control_characters(corpus: Corpus) -> None:
    """Print in one line which characters of a text may not be meant, if there are any."""
    if warning := describe_control_characters(corpus):
        console.print_line(f"warning: {warning}", style="yellow")


def warn_of_repeated(repeated: Sequence[Repeated]) -> None:
    """Print in one line which documents occur in two parts, if any do."""
    if warning := describe_repeated(repeated):
        console.print_line(f"warning: {warning}", style="yellow")


@contextmanager
def _stdin_in_a_file(paths: tuple[Path, ...], cache: Path) -> Iterator[list[Path]]:
    """Yield the paths, - replaced by a file that holds what came through stdin."""
    if STDIN not in paths:
        yield list(paths)
        return
    if paths.count(STDIN) > 1:
        raise UsageError("- stands for stdin, which can be read only once")
    with spooled(sys.stdin.buffer, cache) as spool:
        try:
            yield [spool if path == STDIN else path for path in paths]
        except TextError as error:  # of a file that nobody knows
            raise TextError(str(error).replace(str(spool), "stdin")) from None
