"""Work on a stream in threads, the results in order, and never more than a few items at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from carousel.machine import available_processors

_MOST = 8  # threads; reading and hashing, which stay in order, feed no more

A = TypeVar("A")
B = TypeVar("B")


def ordered_map(
    function: Callable[[A], B], items: Iterable[A], *, threads: int | None = None
) -> Generator[B, None, None]:
    """Yield function(item) for each item, in their order.

    The caller's thread takes the items and gets the results, threads of their own compute these:
    worth it where the function lets go of Python's lock, as numpy, hashlib and zlib do. At most
    two items a thread are ahead of the result that is waited for. What items or function raise is
    raised, and nothing is computed any more.

    Args:
        function: Called in several threads at once.
        items: Taken one by one as results are asked for.
        threads: How many; None takes as many as there are available processors, at most 8.
    """
    count = threads or min(available_processors(), _MOST)
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="carousel-text") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
