"""A series as a task: windows of what a model reads, what it is to answer, and the way back.

A model reads and answers a signal: the values, their logarithms, or the changes of either from one
row to the next, scaled by the training part. Shapes: N values, K windows of n.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carousel.errors import ConfigError, DataError
from carousel.forecasting.scaling import Scaling, fit_scaling
from carousel.forecasting.split import Parts, split
from carousel.forecasting.table import Series
from carousel.forecasting.windows import targets, windows

Target = Literal["value", "change"]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Task:
    """A series, parted, and scaled by its training part; `frame` makes one.

    Attributes:
        series: The values in the units of the data.
        parts: Training, validation and test.
        window: Numbers that a model reads, n.
        target: Whether these and its answer are values, or changes from one to the next.
        is_log: Whether of the values' logarithms.
        scaling: Of the signal, fitted to the training part.
        signal: (N,) or, of changes, (N - 1,), scaled.
    """

    series: Series
    parts: Parts
    window: int
    target: Target
    is_log: bool
    scaling: Scaling
    signal: Array

    def places(self, part: range) -> range:
        """Return the places of a part that can be forecast: all but those that lack a window."""
        return range(max(part.start, self.window + self._offset), part.stop)

    def inputs(self, part: range) -> Array:
        """Return the window before each place, (K, n)."""
        return windows(self.signal, self._in_signal(part), self.window)

    def targets(self, part: range) -> Array:
        """Return what a model should answer to each window, (K,)."""
        return targets(self.signal, self._in_signal(part), self.window)

    def forecasts(self, part: range, answers: Array) -> Array:
        """Return answers to the windows of a part, (K,), as forecasts in the units of the data."""
        level = self.scaling.unscale(answers)
        if self.target == "change":
            places = self.places(part)
            level = level + self._level[places.start - 1 : places.stop - 1]
        return np.exp(level) if self.is_log else level

    def free_run(self, answer: Callable[[Array], float], count: int) -> Array:
        """Forecast beyond the end, (count,), in the units of the data.

        Args:
            answer: A window (n,) to the model's answer; its answers become its later inputs.
            count: How many.
        """
        signal = self.signal[-self.window :].tolist()
        for _ in range(count):
            signal.append(answer(np.array(signal[-self.window :])))
        level = self.scaling.unscale(np.array(signal[self.window :]))
        if self.target == "change":
            level = self._level[-1] + np.cumsum(level)
        return np.exp(level) if self.is_log else level

    @property
    def train_values(self) -> Array:
        """The training part in the units of the data."""
        return self.series.values[: self.parts.train.stop]

    @property
    def _level(self) -> Array:
        return np.log(self.series.values) if self.is_log else self.series.values

    @property
    def _offset(self) -> int:
        """Place of the signal's first number: the first change is that to the second value."""
        return 1 if self.target == "change" else 0

    def _in_signal(self, part: range) -> range:
        return range(max(part.start - self._offset, 0), part.stop - self._offset)


def frame(series: Series, *, window: int, target: Target, is_log: bool) -> Task:
    """Part a series 70/15/15 and scale it by its training part.

    Raises:
        ConfigError: If the window is below 1.
        DataError: If the series is too short, its training part constant, or a value has no
            logarithm where that is asked for.
    """
    if window < 1:
        raise ConfigError(f"window must be at least 1, got {window}")
    values, offset = series.values, 1 if target == "change" else 0
    if is_log and (values <= 0).any():
        k = int(np.argmax(values <= 0))
        raise DataError(
            f"line {series.lines[k]} of {series.name}, {series.column}: {values[k]:g} has no "
            "logarithm; the series can be forecast without --log"
        )
    parts = split(len(values))
    longest = parts.train.stop - offset - 2  # leaves two windows to learn from
    if window > longest:
        raise DataError(
            f"the series has {len(values)} values, {len(parts.train)} of them to train on: the "
            f"longest --window is {longest}, got {window}"
        )
    level = np.log(values) if is_log else values
    with np.errstate(over="ignore"):
        signal = np.diff(level) if offset else level
    scaling = fit_scaling(
        signal[: parts.train.stop - offset],
        what="changes" if offset else "values",
        magnitude=float(np.abs(level[: parts.train.stop]).max()),
    )
    return Task(series, parts, window, target, is_log, scaling, scaling.scale(signal))
