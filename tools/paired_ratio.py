"""The median ratio of paired times, and an interval that holds it in 95 of 100 measurements."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

CONFIDENCE = 0.95
SLOWER = 1.05  # a ratio is slower if its whole interval lies above this
FEWEST = 6  # pairs: with 5 even the interval from least to greatest holds the median too seldom


class Ratio(NamedTuple):
    """The median of after / before over the rounds, its interval, and the median times."""

    median: float
    low: float
    high: float
    before: float
    after: float

    @property
    def is_slower(self) -> bool:
        """Tell whether the whole interval lies above SLOWER."""
        return self.low > SLOWER


def lower_rank(count: int) -> int:
    """Return the rank k, from 1, such that the k-th least to the k-th greatest holds the median.

    Each independent value is below the median of its distribution with probability 1/2, so the
    number of those below is binomial. The interval misses the median with probability
    2 P(fewer than k are below), at most 1 - CONFIDENCE. No distribution is assumed, nothing drawn.

    Raises:
        ValueError: If there are fewer than FEWEST values: no interval is wide enough.
    """
    if count < FEWEST:
        raise ValueError(f"an interval needs at least {FEWEST} rounds, got {count}")
    below, rank = 0.0, 0
    while 2 * (below + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        below += math.comb(count, rank) / 2**count
        rank += 1
    return rank


def paired_ratio(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """Return how much longer `after` takes than `before`, from the times of the same rounds."""
    ratios = sorted(b / a for a, b in zip(before, after, strict=True))
    rank = lower_rank(len(ratios))
    return Ratio(median(ratios), ratios[rank - 1], ratios[-rank], median(before), median(after))


def interleaved(
    tasks: dict[str, tuple[Callable[[], float], Callable[[], float]]],
    rounds: int,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the times of both versions of each task, round by round.

    The order turns around from round to round (A B B A …), so that neither version always runs
    first.

    Args:
        tasks: By name, two functions that run the task once and return its seconds.
        rounds: How many.
        progress: Called with the number of each round, from 1, before it.
    """
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in tasks}
    for number in range(1, rounds + 1):
        progress(number)
        for name, pair in tasks.items():
            for side in (0, 1) if number % 2 else (1, 0):
                times[name][side].append(pair[side]())
    return times
