"""Has anything become slower? Ratios of a run against those that are stored for such a machine.

Ratios, not times: machines of one kind differ by clock and neighbours, and torch.nn, run in turns
with ours, differs with them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Result, find, ratio
from benchmarks.implementations import is_ours
from benchmarks.report import percent

STORED = Path(__file__).parent / "results"
AT_MOST = 0.2  # slower
PEER = "nn f32"


class Slowdown(NamedTuple):
    """A ratio that fell: now is so much slower than stored, as a part."""

    case: str
    way: str
    stored: float
    now: float

    @property
    def part(self) -> float:
        """How much longer ours takes beside the peer; 0.25 is a quarter more."""
        return self.stored / self.now - 1

    @property
    def line(self) -> str:
        """What to tell."""
        return (
            f"{self.case}: {self.way} is {percent(self.part)} slower: {self.now:.2f}× {PEER}, "
            f"stored {self.stored:.2f}×, at most {percent(AT_MOST)} allowed"
        )


def compared(stored: Sequence[Result], now: Sequence[Result]) -> Iterator[Slowdown]:
    """Yield every ratio that both have, slower or not."""
    for result in now:
        before = find(stored, result.case.name)
        if before is None:
            continue
        for way in filter(is_ours, result.ways):
            old, new = ratio(before, PEER, way), ratio(result, PEER, way)
            if old is not None and new is not None:
                yield Slowdown(result.case.name, way, old.median, new.median)


def too_slow(stored: Sequence[Result], now: Sequence[Result]) -> list[Slowdown]:
    """Return the ratios that fell too far."""
    return [found for found in compared(stored, now) if found.part > AT_MOST]


def seen_again(first: Sequence[Slowdown], second: Sequence[Slowdown]) -> list[Slowdown]:
    """Return what is too slow in both of two runs, as the second found it."""
    before = {(found.case, found.way) for found in first}
    return [found for found in second if (found.case, found.way) in before]
