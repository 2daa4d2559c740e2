"""How far forecasts are off, in the units of the data.

Source: Hyndman and Koehler 2006, Another look at measures of forecast accuracy, sections 2 and 3.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Accuracy(NamedTuple):
    """How far forecasts are off.

    Attributes:
        mae: Mean absolute error, in the units of the data.
        rmse: Root of the mean squared error, in the units of the data.
        mase: The MAE in units of the mean absolute change from one value to the next of the
            training part: what "the last value" was off there.
    """

    mae: float
    rmse: float
    mase: float


def accuracy(
    truth: NDArray[np.float64], forecast: NDArray[np.float64], train: NDArray[np.float64]
) -> Accuracy:
    """Judge forecasts, (K,), by the truth, (K,), on the scale of the training values, (N,)."""
    error = forecast - truth
    mae = float(np.abs(error).mean())
    rmse = float(np.sqrt(np.square(error).mean()))
    return Accuracy(mae, rmse, mae / float(np.abs(np.diff(train)).mean()))
