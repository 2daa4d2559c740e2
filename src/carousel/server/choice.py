"""A text as the API gives it: a choice, in one part or in many."""

from collections.abc import Iterable, Sequence
from typing import Any

from carousel.server.types import Chance, Job, Piece

LEAST_LOG_P = -9999.0  # JSON has no −∞: what is impossible to the model


class Choice:
    """One text of an answer, told part by part.

    Args:
        index: Its number in the answer.
        job: What is written.
        is_echoed: It begins with its prompt.
    """

    def __init__(self, index: int, job: Job, is_echoed: bool) -> None:
        self._index = index
        self._has_chances = job.alternatives is not None
        self._told = 0  # characters
        self._text = job.prompt if is_echoed else ""  # not told yet
        # The first character of a prompt has none, since nothing stands before it.
        self._chances: list[Chance | None] = [None] if self._text else []

    def part(self, piece: Piece) -> dict[str, Any] | None:
        """Return what a piece adds to the choice, or None if that is nothing yet.

        A character is held back until its chance is known, where that is asked for.
        """
        self._text += piece.text
        self._chances += piece.chances
        is_over = piece.finish is not None
        end = len(self._chances) if self._has_chances and not is_over else len(self._text)
        if not end and not is_over:
            return None
        text, self._text = self._text[:end], self._text[end:]
        chances, self._chances = self._chances[:end], self._chances[end:]
        logprobs = _logprobs(text, chances, self._told) if self._has_chances else None
        self._told += len(text)
        return {
            "text": text,
            "index": self._index,
            "logprobs": logprobs,
            "finish_reason": piece.finish,
        }


def whole(pieces: Iterable[Piece]) -> Piece:
    """Return the pieces of a text as one."""
    text, chances, finish = "", [], None
    for piece in pieces:
        text += piece.text
        chances += piece.chances
        finish = piece.finish
    return Piece(text, chances, finish)


def log_p(chance: Chance) -> float:
    """Return the character's log-probability in nats, as JSON can say it."""
    return max(chance.log_p, LEAST_LOG_P)


def _logprobs(text: str, chances: Sequence[Chance | None], start: int) -> dict[str, Any]:
    """Return the characters of a part of a choice, with the chances of each and its place."""
    return {
        "tokens": list(text),
        "token_logprobs": [None if chance is None else log_p(chance) for chance in chances],
        "top_logprobs": [
            None if chance is None else _top(character, chance)
            for character, chance in zip(text, chances, strict=True)
        ],
        "text_offset": list(range(start, start + len(text))),
    }


def _top(character: str, chance: Chance) -> dict[str, float]:
    """Return the likeliest characters' chances, and that of the character which stands there."""
    likeliest = {other: max(p, LEAST_LOG_P) for other, p in chance.alternatives}
    return {**likeliest, character: log_p(chance)}
