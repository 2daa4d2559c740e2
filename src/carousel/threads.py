"""The number of threads that torch computes with. Imports torch inside functions only."""

from collections.abc import Iterator
from contextlib import contextmanager

from carousel.machine import compute_threads


def use_available_processors() -> None:
    """Compute with no more threads than there are processors for them, or OMP_NUM_THREADS asks for.

    torch counts the processors in the affinity mask, and knows nothing of a container's quota.
    """
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), compute_threads()))


@contextmanager
def kept_threads() -> Iterator[None]:
    """Restore the number of threads at the end of the block, whatever the block sets."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: products of single rows are too small to share."""
    import torch

    with kept_threads():
        torch.set_num_threads(1)
        yield
