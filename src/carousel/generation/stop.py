"""End a text before the first stop string in it."""

from collections.abc import Generator, Iterable, Sequence
from typing import Literal

FinishReason = Literal["stop", "length"]  # a stop string was found, or the text is complete


class StopMatcher:
    """Searches a text that comes in pieces for stop strings.

    Characters that may be the beginning of a stop string are held back until it is clear that they
    are not, or until the text ends. If several stop strings end at the same character, the longest
    is cut off.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        """Search for these strings, of at least one character each."""
        self._stop = stop
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """Add a piece; return what surely belongs to the text, and whether a stop string ended it.

        Whatever follows a stop string is ignored, and nothing may be added after it.
        """
        if not self._stop:
            return text, False
        certain = ""
        for character in text:
            held = self._held + character
            complete = max((s for s in self._stop if held.endswith(s)), key=len, default="")
            end = len(held) - (len(complete) if complete else _may_begin(held, self._stop))
            certain += held[:end]
            self._held = "" if complete else held[end:]
            if complete:
                return certain, True
        return certain, False

    def rest(self) -> str:
        """Return what is still held back; for when there is no more text."""
        return self._held


def until_stop(text: Iterable[str], stop: Sequence[str]) -> Generator[str, None, FinishReason]:
    """Yield a text as it comes, up to the first stop string to be complete (see Ending).

    Args:
        text: The text, in pieces of any size.
        stop: Strings of at least one character each.

    Returns:
        Why it ended, as the value of the generator (`finish = yield from until_stop(…)`).
    """
    matcher = StopMatcher(stop)
    for piece in text:
        certain, is_met = matcher.add(piece)
        if certain:
            yield certain
        if is_met:
            return "stop"
    if rest := matcher.rest():
        yield rest
    return "length"


def _may_begin(text: str, stop: Sequence[str]) -> int:
    """Return the length of the longest end of the text that begins a stop string."""
    longest = min(len(text), max(map(len, stop), default=0))
    ends = (k for k in range(longest, 0, -1) if any(s.startswith(text[-k:]) for s in stop))
    return next(ends, 0)
