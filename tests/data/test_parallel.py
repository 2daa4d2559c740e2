"""The ordered map: results in order, a bounded look-ahead, and an end that leaves no thread."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from carousel.data.parallel import ordered_map


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def last_first(item: int) -> int:
        time.sleep(0.002 * (7 - item % 8))
        return item * item

    assert list(ordered_map(last_first, range(40), threads=threads)) == [k * k for k in range(40)]
    assert list(ordered_map(last_first, [], threads=threads)) == []


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    assert len(list(ordered_map(lambda item: meeting.wait(timeout=10), range(6), threads=3))) == 6


def test_only_a_few_items_are_taken_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_map(lambda item: item, items(), threads=3)
    for expected in range(100):
        assert next(results) == expected
        assert len(taken) <= expected + 6
    results.close()


def names() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("carousel-text")]


@pytest.mark.parametrize("where", ["items", "function", "consumer"])
def test_an_error_ends_it_and_the_rest_is_not_computed(where: str) -> None:
    computed = []

    def items() -> Iterator[int]:
        yield from range(5)
        if where == "items":
            raise ValueError("the sixth")
        yield from range(5, 100)

    def function(item: int) -> int:
        if where == "function" and item == 5:
            raise ValueError("the sixth")
        computed.append(item)
        return item

    def consume() -> None:
        with closing(ordered_map(function, items(), threads=2)) as results:
            for result in results:
                if where == "consumer" and result == 5:
                    raise ValueError("the sixth")

    with pytest.raises(ValueError, match="the sixth"):
        consume()
    assert len(computed) < 12
    assert names() == []


def test_what_waits_in_the_queue_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, gate, held = [], threading.Event(), threading.Semaphore(0)
    shut = ThreadPoolExecutor.shutdown

    def open_and_shut(pool: ThreadPoolExecutor, **arguments: bool) -> None:
        gate.set()
        shut(pool, **arguments)

    def computes(item: int) -> int:
        held.release()
        assert item == 0 or gate.wait(timeout=60)
        computed.append(item)
        return item

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", open_and_shut)
    results = ordered_map(computes, range(100), threads=2)
    assert next(results) == 0  # two threads hold the next two, and one more waits for a thread
    assert all(held.acquire(timeout=60) for _ in range(3))
    results.close()
    assert sorted(computed) == [0, 1, 2]
