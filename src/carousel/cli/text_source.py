"""The text a command works on: files of the user's, or the built-in tales."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from carousel.cli.console import console
from carousel.text.corpus import Corpus, prepare, prepare_text

TALES_SEED, TALES_CHARACTERS = 0, 2_000_000


class Source(NamedTuple):
    """A prepared text.

    Attributes:
        corpus: Its ids and alphabet.
        floor: The least loss that any model can reach on characters [start, stop), in nats per
            character; None where nobody knows it: in texts of the user's, and in half a tale.
    """

    corpus: Corpus
    floor: Callable[[int, int], float | None] | None


def open_source(paths: tuple[Path, ...]) -> Source:
    """Prepare the files (the first time with a progress bar), or write the tales."""
    if not paths:
        from carousel.text.tales import floor, tell

        tales = tell(TALES_SEED, TALES_CHARACTERS)
        corpus = prepare_text(tales.text, "tales")

        def known_floor(start: int, stop: int) -> float | None:
            is_whole = {start, stop} <= set(tales.borders)
            return floor(tales, start, stop) if is_whole else None

        return Source(corpus, known_floor)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return Source(prepare(list(paths), progress=show), None)
