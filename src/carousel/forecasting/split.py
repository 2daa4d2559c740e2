"""Training, validation and test part of a series, in the order of time."""

from typing import NamedTuple

from carousel.errors import DataError

SHARES = (0.7, 0.15, 0.15)  # of training, validation and test


class Parts(NamedTuple):
    """Three stretches that follow one another without a gap."""

    train: range
    validation: range
    test: range


def split(length: int) -> Parts:
    """Part a series 70/15/15, cut between two values.

    Raises:
        DataError: If a part would be empty, or the first too short to learn a thing from.
    """
    first, second = round(SHARES[0] * length), round((SHARES[0] + SHARES[1]) * length)
    parts = Parts(range(first), range(first, second), range(second, length))
    if first < 5 or not all(parts):
        raise DataError(f"the series has {length} values, too few to train, validate and test")
    return parts
