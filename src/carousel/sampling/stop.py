"""Where a text ends: at a stop string, which is not part of it."""

from collections.abc import Generator, Iterable, Sequence
from typing import Literal

Finish = Literal["stop", "length"]  # a stop string was met, or there was no more text


def until_stop(text: Iterable[str], stop: Sequence[str]) -> Generator[str, None, Finish]:
    """Yield a text as it comes, up to the first stop string to be complete.

    Characters that may yet turn out to begin a stop string are held back until it is clear that
    they do not, or until the text ends. Where several stop strings end at the same character,
    the longest of them is cut off.

    Args:
        text: The text, in pieces of any size.
        stop: Strings of at least one character each.

    Returns:
        Why it ended, as the value of the generator (`finish = yield from until_stop(…)`).
    """
    held = ""
    for character in (character for piece in text for character in piece):
        held += character
        complete = max((s for s in stop if held.endswith(s)), key=len, default="")
        end = len(held) - (len(complete) if complete else _may_begin(held, stop))
        if end:
            yield held[:end]
        if complete:
            return "stop"
        held = held[end:]
    if held:
        yield held
    return "length"


def _may_begin(text: str, stop: Sequence[str]) -> int:
    """Return the length of the longest end of the text that begins a stop string."""
    longest = min(len(text), max(map(len, stop), default=0))
    ends = (k for k in range(longest, 0, -1) if any(s.startswith(text[-k:]) for s in stop))
    return next(ends, 0)
