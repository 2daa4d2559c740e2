"""Windows of n values, and the value after each. Shapes: K windows, n values each."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def windows(values: NDArray[np.float64], part: range, n: int) -> NDArray[np.float64]:
    """Return the n values before each place of a part, (K, n), oldest first.

    They reach back over the beginning of the part; what a part is judged by, its own values, no
    other part is. Places with fewer than n values before them are left out.
    """
    first = max(part.start, n)
    rows: NDArray[np.float64] = sliding_window_view(values[first - n : part.stop - 1], n)
    return rows.copy()


def targets(values: NDArray[np.float64], part: range, n: int) -> NDArray[np.float64]:
    """Return the value after each window of `windows`, (K,)."""
    return values[max(part.start, n) : part.stop].copy()
