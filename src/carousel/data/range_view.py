"""Ranges of a long array as one shorter array, without copying: a part of a text on disk."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from carousel.data.vocabulary import Ids

# (K, 2): beginnings and ends [start, stop) of K stretches, ascending, none empty, none touching.
Ranges = NDArray[np.int64]


@runtime_checkable
class IdSequence(Protocol):
    """The operations on N ids that batches and evaluations need; arrays and RangeView have them."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of an id, unsigned."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, key: NDArray[np.int64], /) -> Ids: ...

    @overload
    def __getitem__(self, key: slice, /) -> Ids: ...


@dataclass(frozen=True, eq=False)
class RangeView:
    """Stretches of an array, read as if they were joined: `np.concatenate` that copies nothing.

    Indexing with integers of any shape, or with a slice, returns what the joined array would, as a
    new array; memory grows with what is asked for and with the number of stretches.

    Attributes:
        source: The long array, one-dimensional; may be mapped from disk.
        ranges: (K, 2), K ≥ 1, as `Ranges` says.
    """

    source: Ids
    ranges: Ranges

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The end of each range in the joined array, (K,)."""
        return np.cumsum(self.ranges[:, 1] - self.ranges[:, 0])

    @cached_property
    def _shifts(self) -> NDArray[np.int64]:
        """For each range, the offset from a position in the joined array to one in the source."""
        shifts: NDArray[np.int64] = self.ranges[:, 1] - self._ends
        return shifts

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type of an id."""
        return self.source.dtype

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: slice | NDArray[np.integer[Any]]) -> Ids:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._stretch(start, max(start, stop))
            return self._at(np.arange(start, stop, step))
        given = np.asarray(key)
        if not np.issubdtype(given.dtype, np.integer):
            raise IndexError(f"pieces are indexed with whole numbers, got {given.dtype}")
        if given.size and not -len(self) <= given.min() <= given.max() < len(self):
            raise IndexError(f"an index is out of bounds for {len(self)} ids")
        places = given.astype(np.int64, copy=False)
        return self._at(np.where(places < 0, places + len(self), places))

    def _at(self, places: NDArray[np.int64]) -> Ids:
        """Return the ids at places in [0, N), in the shape of the places."""
        stretch = np.searchsorted(self._ends, places, side="right")
        ids: Ids = self.source[places + self._shifts[stretch]]
        return ids

    def _stretch(self, start: int, stop: int) -> Ids:
        """Return the ids from start to stop, copied stretch by stretch."""
        if start == stop:
            return np.empty(0, self.dtype)
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        touched = self.ranges[first : last + 1].copy()
        touched[0, 0], touched[-1, 1] = start + self._shifts[first], stop + self._shifts[last]
        return np.concatenate([self.source[a:b] for a, b in touched.tolist()])


def part(ids: Ids, ranges: Ranges) -> IdSequence:
    """Return the ids of these ranges as one text: a view of one range, a RangeView of several."""
    if len(ranges) == 1:
        start, stop = ranges[0].tolist()
        return ids[start:stop]
    return RangeView(ids, ranges)


def total(ranges: Ranges) -> int:
    """Return how many ids the ranges hold."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())
