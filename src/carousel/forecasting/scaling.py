"""The units a model works in: of mean 0 and deviation 1, over the training part alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carousel.errors import DataError

_RESOLUTION = 1e-12  # less than this part of the values themselves is rounding


@dataclass(frozen=True)
class Scaling:
    """An affine map.

    Attributes:
        mean: Of what it was fitted to.
        deviation: Of that, the root of the mean square.
    """

    mean: float
    deviation: float

    def scale(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values in the model's units."""
        return (values - self.mean) / self.deviation

    def unscale(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values that `scale` maps to these."""
        return scaled * self.deviation + self.mean


def fit_scaling(train: NDArray[np.float64], *, what: str, magnitude: float) -> Scaling:
    """Return the scaling after which these have mean 0 and deviation 1.

    Args:
        train: Values of the training part, or their changes.
        what: "values" or "changes", for messages.
        magnitude: Of the values, beside which a deviation is rounding or not.

    Raises:
        DataError: If they are all the same, or too large to compute with.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(train.mean()), float(train.std())
    if not (math.isfinite(mean) and math.isfinite(deviation)):
        raise DataError(f"the {what} of the training part are too large to compute with")
    if not deviation > _RESOLUTION * magnitude:
        raise DataError(
            f"all {len(train)} {what} of the training part are {mean:g}, as far as numbers of "
            f"this size can tell: there is nothing to learn"
        )
    return Scaling(mean, deviation)
