"""Unicode's normal form C of a text that streams through: exact, however it is cut into chunks.

A chunk may be cut before a character whose canonical decomposition begins with a starter (combining
class 0) that composes with nothing before it: neither reordering nor composition reaches across.
Nearly every character is one, so that next to nothing is held back.

Source: Unicode Standard Annex 15, sections 9.1 (stable code points) and 1.2 (NFC).
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

_HANGUL_VOWELS, _HANGUL_ENDS = range(0x1161, 0x1176), range(0x11A8, 0x11C3)


def nfc(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the normal form C of the joined chunks, itself in chunks, none of them empty.

    Memory holds a chunk, and as many characters as follow one another without a place to cut:
    a letter's marks. They are reordered together, so that a text of nothing else is held whole.
    """
    bound = reaching_back()
    held: list[str] = []
    for chunk in chunks:
        cut = next((k for k in range(len(chunk) - 1, -1, -1) if chunk[k] not in bound), None)
        if cut is None:
            held.append(chunk)
            continue
        ready = "".join([*held, chunk[:cut]])
        held = [chunk[cut:]]
        if ready:
            yield unicodedata.normalize("NFC", ready)
    if rest := "".join(held):
        yield unicodedata.normalize("NFC", rest)


@cache
def reaching_back() -> frozenset[str]:
    """Return the characters that may compose, or change places, with what stands before them."""
    decompositions = {c: d.split() for c in _characters() if (d := unicodedata.decomposition(c))}
    # The second halves of canonical pairs; a tag such as <compat> makes a decomposition another.
    seconds = {
        chr(int(codes[1], 16))
        for codes in decompositions.values()
        if len(codes) == 2 and not codes[0].startswith("<")
    }
    seconds |= {chr(code) for code in (*_HANGUL_VOWELS, *_HANGUL_ENDS)}
    marks = {c for c in _characters() if unicodedata.combining(c)}
    reaching = seconds | marks
    # U+0F73 and its like: starters themselves that decompose into marks.
    return frozenset(
        reaching | {c for c in decompositions if unicodedata.normalize("NFD", c)[0] in reaching}
    )


def _characters() -> Iterator[str]:
    """Yield all of Unicode: a list of them would take 90 MB."""
    return map(chr, range(sys.maxunicode + 1))
