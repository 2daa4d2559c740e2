"""Where a sentence ends: at the space behind a full stop, or at the end of its line."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

ENDERS = frozenset(".!?…‽؟۔")
WIDE = frozenset("。！？।॥")  # no space follows these
QUOTES = frozenset("\"'*_")
CLOSING = frozenset({"Pe", "Pf", "Pi"})  # Unicode categories of brackets and quotation marks


class SentenceBoundary(NamedTuple):
    """The tokens at which a sentence ends.

    Attributes:
        enders: Full stops and similar marks.
        wide: Those that need no space.
        closers: Quotation marks and brackets, which may stand between a full stop and its space.
        spaces: White space.
        line_feed: Its id; -1 if the vocabulary has none.
    """

    enders: frozenset[int]
    wide: frozenset[int]
    closers: frozenset[int]
    spaces: frozenset[int]
    line_feed: int

    @classmethod
    def of(cls, characters: Sequence[str]) -> Self:
        """Return the boundary for a vocabulary, given as its characters in the order of ids."""

        def ids(is_one: Callable[[str], bool]) -> frozenset[int]:
            return frozenset(token for token, c in enumerate(characters) if is_one(c))

        return cls(
            enders=ids(ENDERS.__contains__),
            wide=ids(WIDE.__contains__),
            closers=ids(lambda c: c in QUOTES or unicodedata.category(c) in CLOSING),
            spaces=ids(str.isspace),
            line_feed=characters.index("\n") if "\n" in characters else -1,
        )

    def is_end(self, ids: Sequence[int]) -> bool:
        """Return whether the last of these ids ends the sentence that the first one begins."""
        if ids[-1] not in self.spaces:
            return ids[-1] in self.wide
        if ids[-1] == self.line_feed:
            return not self.spaces.issuperset(ids)
        before = (token for token in reversed(ids[:-1]) if token not in self.closers)
        return next(before, -1) in self.enders
