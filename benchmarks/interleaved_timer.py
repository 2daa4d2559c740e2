"""Time contenders in turns, so that what disturbs the machine disturbs them all.

Each round runs every contender once, in an order drawn anew: none always follows the same other,
whose memory it would find in the caches. Rounds to warm up are not counted. Ratios are taken within
a round, and of these the median: what slows a whole round down cancels.
"""

import gc
import random
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 101
ENOUGH = 9

Times = dict[str, list[float]]


def timed(
    passes: Mapping[str, Callable[[], None]],
    least: Mapping[str, int],
    seconds: float,
    is_settled: Callable[[Times], bool] = lambda times: True,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Return the milliseconds of each contender, round by round.

    Args:
        passes: The contenders, by name.
        least: Rounds of each at least; where they differ, the slow ones drop out first.
        seconds: When the least is done, rounds go on for so long since the first, up to MOST.
        is_settled: Whether the times are clear; if not, rounds go on up to ENOUGH.
        clock: Tells seconds.
    """
    names, rng = list(passes), random.Random(0)
    times: Times = {name: [] for name in names}
    with _no_collection():
        start = clock()
        while True:  # to warm up: once, and where that is quick, for a tenth of the time
            for name in names:
                passes[name]()
            if clock() - start >= seconds / 10:
                break
        start, done = clock(), 0
        while done < MOST:
            taking_part = [name for name in names if done < least[name]]
            if len(taking_part) < len(names):
                has_time = clock() - start < seconds
                if has_time or (done < ENOUGH and not is_settled(times)):
                    taking_part = names
            if not taking_part:
                break
            for name in rng.sample(taking_part, len(taking_part)):
                before = clock()
                passes[name]()
                times[name].append(1e3 * (clock() - before))
            done += 1
    return times


@contextmanager
def _no_collection() -> "Iterator[None]":
    """Collect garbage now, and not while the clock runs."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
