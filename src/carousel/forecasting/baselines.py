"""Forecasts that learn next to nothing. What cannot beat them has found no pattern.

Each returns the forecasts of the values at the places of a part, from values before each of them.

Source: Hyndman and Athanasopoulos 2021, Forecasting: Principles and Practice, section 5.2.
"""

import numpy as np
from numpy.typing import NDArray

from carousel.errors import ConfigError

# A peak of the autocorrelation must be at least so high to be called a season.
_CLEAR = 0.2


def last_value(values: NDArray[np.float64], part: range) -> NDArray[np.float64]:
    """Forecast that nothing changes: y_t = y_{t-1}."""
    return values[part.start - 1 : part.stop - 1].copy()


def seasonal(values: NDArray[np.float64], part: range, season: int) -> NDArray[np.float64]:
    """Forecast the value one season before: y_t = y_{t-s}."""
    return values[part.start - season : part.stop - season].copy()


def seasonal_change(values: NDArray[np.float64], part: range, season: int) -> NDArray[np.float64]:
    """Forecast the last value, changed as one season before: y_t = y_{t-1} + y_{t-s} - y_{t-s-1}.

    It is what a seasonal series with a trend asks for, and harder to beat than either of its parts.
    Source: Box, Jenkins and Reinsel 1994, section 9.1, with both moving averages left out.
    """
    before = range(part.start - season, part.stop - season)
    change = seasonal(values, part, season) - last_value(values, before)
    return last_value(values, part) + change


def drift(values: NDArray[np.float64], part: range, train: range) -> NDArray[np.float64]:
    """Forecast the last value and the mean change of the training part."""
    change = float(values[train.stop - 1] - values[train.start]) / (len(train) - 1)
    return last_value(values, part) + change


def check_season(season: int, train: range) -> None:
    """Refuse a season of which the training part does not hold one and a value.

    Raises:
        ConfigError: If it is too long or no number of rows.
    """
    if not 2 <= season < len(train):
        raise ConfigError(
            f"season must be from 2 to {len(train) - 1}, one less than the training part has "
            f"values, got {season}"
        )


def estimate_season(train: NDArray[np.float64]) -> int | None:
    """Return the length of the season that a training part shows, or None.

    It is the lag of the highest peak of the autocorrelation, of what a straight line leaves, after
    that has first fallen below zero, among lags that fit into the part twice. A sum over N - k
    products makes the first of several peaks the highest, but leans towards short lags; so the top
    is looked for again within a tenth of it, in the mean of the products.
    """
    count = len(train)
    correlation = autocorrelation(_without_trend(train))
    sums = correlation[: count // 2 + 1]
    below = np.flatnonzero(sums < 0)
    if not len(below):
        return None
    peak = int(below[0] + np.argmax(sums[below[0] :]))
    if peak < 2 or peak == len(sums) - 1 or sums[peak] < _CLEAR:  # at the end it may still rise
        return None
    near = np.arange(max(2, peak - peak // 10), peak + peak // 10 + 1)
    return int(near[np.argmax(correlation[near] / (count - near))])


def autocorrelation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return r_k = Σ_t (y_t - m)(y_{t+k} - m) / Σ_t (y_t - m)², for k = 0, …, N - 1.

    Source: Box, Jenkins and Reinsel 1994, Time Series Analysis, section 2.1.4.
    """
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * len(values))  # padded: else the end would meet the start
    products: NDArray[np.float64] = np.fft.irfft(spectrum * spectrum.conj(), 2 * len(values))[
        : len(values)
    ]
    if not products[0] > 0:
        return np.zeros(len(values))
    result: NDArray[np.float64] = products / products[0]
    return result


def _without_trend(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the least-squares line leaves."""
    time = np.arange(len(values)) - (len(values) - 1) / 2
    slope = (time @ values) / (time @ time)
    left: NDArray[np.float64] = values - values.mean() - slope * time
    return left
