"""A text as the API gives it: a choice, in one part or in many."""

from collections.abc import Iterable, Sequence
from typing import Any

from carousel.server.types import CharacterLogprob, Chunk, Job

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
        self._has_logprobs = job.logprobs is not None
        self._num_sent = 0  # characters
        self._text = job.prompt if is_echoed else ""  # not told yet
        # The first character of a prompt has none, since nothing stands before it.
        self._logprobs_left: list[CharacterLogprob | None] = [None] if self._text else []

    def part(self, chunk: Chunk) -> dict[str, Any] | None:
        """Return what a piece adds to the choice, or None if that is nothing yet.

        A character is held back until its chance is known, where that is asked for.
        """
        self._text += chunk.text
        self._logprobs_left += chunk.logprobs
        is_over = chunk.finish_reason is not None
        end = len(self._logprobs_left) if self._has_logprobs and not is_over else len(self._text)
        if not end and not is_over:
            return None
        text, self._text = self._text[:end], self._text[end:]
        own, self._logprobs_left = self._logprobs_left[:end], self._logprobs_left[end:]
        logprobs = _logprobs(text, own, self._num_sent) if self._has_logprobs else None
        self._num_sent += len(text)
        return {
            "text": text,
            "index": self._index,
            "logprobs": logprobs,
            "finish_reason": chunk.finish_reason,
        }


def whole(chunks: Iterable[Chunk]) -> Chunk:
    """Return the chunks of a text as one."""
    text, logprobs, finish_reason = "", [], None
    for chunk in chunks:
        text += chunk.text
        logprobs += chunk.logprobs
        finish_reason = chunk.finish_reason
    return Chunk(text, logprobs, finish_reason)


def log_p(logprob: CharacterLogprob) -> float:
    """Return the character's log-probability in nats, as JSON can say it."""
    return max(logprob.log_p, LEAST_LOG_P)


def _logprobs(text: str, logprobs: Sequence[CharacterLogprob | None], start: int) -> dict[str, Any]:
    """Return the characters of a part of a choice, with the chances of each and its place."""
    return {
        "tokens": list(text),
        "token_logprobs": [None if logprob is None else log_p(logprob) for logprob in logprobs],
        "top_logprobs": [
            None if logprob is None else _top(character, logprob)
            for character, logprob in zip(text, logprobs, strict=True)
        ],
        "text_offset": list(range(start, start + len(text))),
    }


def _top(character: str, logprob: CharacterLogprob) -> dict[str, float]:
    """Return the likeliest characters' chances, and that of the character which stands there."""
    likeliest = {other: max(p, LEAST_LOG_P) for other, p in logprob.top}
    return {**likeliest, character: log_p(logprob)}
