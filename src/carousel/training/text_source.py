"""The text that a model is trained or evaluated on: the user's files, a string, or the tales."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from carousel.data.control_characters import find_control_characters
from carousel.data.corpus import Corpus, Progress, prepare, prepare_text
from carousel.data.reading import PLAIN, Reading

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


def open_source(
    paths: Sequence[Path] = (),
    reading: Reading = PLAIN,
    cache: Path | None = None,
    progress: Progress | None = None,
    *,
    is_exact: bool = False,
) -> Source:
    """Prepare the text of some files or folders, or without any, write the built-in tales.

    Args:
        paths: Files and folders; none for the tales.
        reading: How bytes become text.
        cache: Where prepared texts are kept; None takes the user's cache folder.
        progress: Called now and then while files are read.
        is_exact: Whether a kept text is compared with its hash, as a run that goes on needs it.

    Raises:
        TextError: If a file is missing, empty or does not decode.
    """
    if paths:
        corpus = prepare(paths, reading=reading, cache=cache, progress=progress, is_exact=is_exact)
        return Source(corpus, None)
    return open_tales(cache, is_exact=is_exact)


def open_string(text: str, cache: Path | None = None, *, is_exact: bool = False) -> Source:
    """Prepare a text at hand.

    Raises:
        TextError: If it is empty, or holds half a surrogate pair.
    """
    return Source(prepare_text(text, "text", cache=cache, is_exact=is_exact), None)


def open_tales(cache: Path | None = None, *, is_exact: bool = False) -> Source:
    """Write the built-in tales, whose entropy is known, and prepare them."""
    from carousel.tales import floor, tell

    tales = tell(TALES_SEED, TALES_CHARACTERS)
    corpus = prepare_text(tales.text, "tales", cache=cache, is_exact=is_exact)

    def known_floor(start: int, stop: int) -> float | None:
        is_whole = {start, stop} <= set(tales.borders)
        return floor(tales, start, stop) if is_whole else None

    return Source(corpus, known_floor)


def describe_control_characters(corpus: Corpus) -> str | None:
    """Return one line on the characters of a text that may not be meant; None if there are none."""
    found = find_control_characters(corpus)
    if not found:
        return None
    shown = ", ".join(
        f"U+{ord(each.character):04X} {each.times:,} time{'s' * (each.times > 1)} (first at "
        f"{each.first:,})"
        for each in found[:3]
    )
    more = f" and {len(found) - 3} others" if len(found) > 3 else ""
    is_windows = any("\x80" <= each.character <= "\x9f" for each in found)
    advice = "; --encoding cp1252 reads texts of Windows" if is_windows else ""
    return f"{corpus.name} has characters that a text seldom has: {shown}{more}{advice}"
