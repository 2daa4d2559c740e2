"""The text a command works on: the user's files, folders or pipe, or the built-in tales."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from carousel.cli.console import can_redraw, console
from carousel.cli.progress import VisibleProgress
from carousel.data.control_characters import find_control_characters
from carousel.data.corpus import Corpus, name_of, prepare, prepare_text
from carousel.data.reading import PLAIN, Reading
from carousel.data.stdin_file import spooled
from carousel.errors import TextError, UsageError
from carousel.files import user_cache_folder

TALES_SEED, TALES_CHARACTERS = 0, 2_000_000
STDIN = Path("-")


class Source(NamedTuple):
    """A prepared text.

    Attributes:
        corpus: Its ids and alphabet.
        floor: The least loss that any model can reach on characters [start, stop), in nats per
            character; None where nobody knows it: in texts of the user's, and in half a tale.
    """

    corpus: Corpus
    floor: Callable[[int, int], float | None] | None


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
    from carousel.tales import floor, tell

    tales = tell(TALES_SEED, TALES_CHARACTERS)
    corpus = prepare_text(tales.text, "tales", cache=cache, is_exact=is_exact)

    def known_floor(start: int, stop: int) -> float | None:
        is_whole = {start, stop} <= set(tales.borders)
        return floor(tales, start, stop) if is_whole else None

    return Source(corpus, known_floor)


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
    found = find_control_characters(corpus)
    if not found:
        return
    shown = ", ".join(
        f"U+{ord(each.character):04X} {each.times:,} time{'s' * (each.times > 1)} (first at "
        f"{each.first:,})"
        for each in found[:3]
    )
    more = f" and {len(found) - 3} others" if len(found) > 3 else ""
    is_windows = any("\x80" <= each.character <= "\x9f" for each in found)
    advice = "; --encoding cp1252 reads texts of Windows" if is_windows else ""
    console.print_line(
        f"warning: {corpus.name} has characters that a text seldom has: {shown}{more}{advice}",
        style="yellow",
    )


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
