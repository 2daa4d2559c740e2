"""Characters and their ids."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carousel.data.typography import plainly
from carousel.errors import TextError, shorten

Ids = NDArray[np.unsignedinteger[Any]]
OnUnknown = Literal["error", "skip", "replace"]  # of characters that the vocabulary lacks

_REPLACEMENTS = "\ufffd? "  # in this order, the first that the vocabulary knows


@dataclass(frozen=True)
class Vocabulary:
    """The characters a model knows; a character's place is its id.

    A character is one Unicode code point (a letter and the accent that combines with it are two).

    Attributes:
        itos: Distinct characters, V of them: id to character.

    Raises:
        TextError: If it is empty, or an element is no character or stands twice.
    """

    itos: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that encoding and decoding are inverse."""
        if not self.itos:
            raise TextError("a vocabulary needs at least one character, got none")
        for character in self.itos:
            if not (isinstance(character, str) and len(character) == 1):
                raise TextError(
                    f"a vocabulary holds single characters, got {shorten(repr(character))}"
                )
            if 0xD800 <= ord(character) < 0xE000:
                raise TextError(f"{_name(character)} is half a surrogate pair, not a character")
        if len(self.stoi) != len(self.itos):
            twice = next(c for i, c in enumerate(self.itos) if self.stoi[c] != i)
            raise TextError(f"a vocabulary holds distinct characters, got {_name(twice)} twice")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Collect the characters of a text."""
        return cls.from_characters(text)

    @classmethod
    def from_characters(cls, characters: Iterable[str]) -> Self:
        """Give ids to the distinct ones of these characters, in the order of their code points."""
        return cls(tuple(sorted(set(characters))))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            TextError: If it is not a JSON list of distinct characters.
        """
        try:
            itos = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TextError(f"the vocabulary is not JSON: {error}") from error
        if not isinstance(itos, list):
            raise TextError(f"the vocabulary is not a JSON list but {type(itos).__name__}")
        return cls(tuple(itos))

    def to_json(self) -> str:
        """Return a JSON list of the characters, in ASCII, so that no editor or locale alters it."""
        return json.dumps(self.itos) + "\n"

    def __len__(self) -> int:
        return len(self.itos)

    @cached_property
    def stoi(self) -> dict[str, int]:
        """The id of each character."""
        return {character: i for i, character in enumerate(self.itos)}

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint8, uint16 and uint32 that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    @cached_property
    def replacement(self) -> int | None:
        """The id that stands for what is unknown: of U+FFFD, "?" or a space; None without them."""
        return next((self.stoi[c] for c in _REPLACEMENTS if c in self.stoi), None)

    def encode(self, text: str, start: int = 0, on_unknown: OnUnknown = "error") -> Ids:
        """Return the id of each character of a text, (N,) of `dtype`.

        Args:
            text: N characters, any number.
            start: Where the text stands in a longer one; only the error speaks of it.
            on_unknown: What to do with a character that is not in the vocabulary: raise, leave it
                out, so that fewer than N ids are returned, or put `replacement` for it.

        Raises:
            TextError: If a character is not in the vocabulary and that is an error, or nothing can
                replace it; the message names the first one, its code point and its position,
                counted in characters from 0.
        """
        ids = self._id_of_code.take(code_points(text), mode="clip")
        if ids.size and ids.max() == len(self):
            is_unknown = ids == len(self)
            if on_unknown == "skip":
                ids = ids[~is_unknown]
            elif on_unknown == "replace" and self.replacement is not None:
                ids[is_unknown] = self.replacement
            else:
                position = int(np.argmax(is_unknown))
                lacking = ", and neither are U+FFFD, '?' and ' ', which could replace it"
                raise TextError(
                    f"{_name(text[position])} at position {start + position} is not among the "
                    f"{len(self)} characters of the vocabulary"
                    + plainly(text[position], self.stoi)
                    + (lacking if on_unknown == "replace" else "")
                )
        return ids.astype(self.dtype)

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of these ids, (N,) of any integer type.

        Raises:
            TextError: If they are not integers in [0, V).
        """
        array = np.asarray(ids)
        if array.size == 0:
            return ""
        if not np.issubdtype(array.dtype, np.integer):
            raise TextError(f"ids must be integers, got {array.dtype}")
        low, high = array.min(), array.max()
        if low < 0 or high >= len(self):
            raise TextError(f"ids must be in [0, {len(self)}), got values in [{low}, {high}]")
        codes: NDArray[np.uint32] = self._code_of_id[array]
        return codes.tobytes().decode("utf-32-le")

    @cached_property
    def _code_of_id(self) -> NDArray[np.uint32]:
        return code_points("".join(self.itos))

    @cached_property
    def _id_of_code(self) -> NDArray[np.uint32]:
        """The id of every code point up to one beyond the last known; V where it is unknown."""
        table = np.full(int(self._code_of_id.max()) + 2, len(self), np.uint32)
        table[self._code_of_id] = np.arange(len(self))
        return table


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the Unicode code point of each character, (N,); read-only."""
    # A half surrogate, which a prompt in a broken encoding may hold, is passed on as it is.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _name(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"
