"""Forecasts judged where nothing was learned, and compared with what learns next to nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.forecasting.baselines import drift, last_value, seasonal, seasonal_change
from carousel.forecasting.metrics import Accuracy, accuracy
from carousel.forecasting.task import Task

Array = NDArray[np.float64]


class Judged(NamedTuple):
    """Forecasts and how far off they are.

    Attributes:
        name: What made them.
        forecast: (K,), of the places of the validation and the test part.
        validation: How far off it is on the one.
        test: And on the other.
    """

    name: str
    forecast: Array
    validation: Accuracy
    test: Accuracy


class Verdict(NamedTuple):
    """A model beside the best baseline, by one measure.

    Attributes:
        measure: "MAE" or "RMSE".
        baseline: The best baseline by this measure.
        excess: How much larger the model's error is, as a part of the baseline's; below 0 it is
            smaller. Of several fits, of their mean.
        wins: Fits whose error is smaller.
    """

    measure: str
    baseline: str
    excess: float
    wins: int


def held_out(task: Task) -> range:
    """Return the places that no weight was fitted to: the validation and the test part."""
    return range(task.parts.validation.start, task.parts.test.stop)


def judge(task: Task, name: str, forecast: Array) -> Judged:
    """Judge forecasts of the places of `held_out`, (K,), in the units of the data."""
    count = len(task.parts.validation)
    parts = ((task.parts.validation, forecast[:count]), (task.parts.test, forecast[count:]))
    validation, test = (
        accuracy(task.series.values[part.start : part.stop], of_part, task.train_values)
        for part, of_part in parts
    )
    return Judged(name, forecast, validation, test)


def judge_baselines(task: Task, season: int | None) -> list[Judged]:
    """Judge the last value and drift, and, where a season is known, its value and its change."""
    values, part = task.series.values, held_out(task)
    found = {"last value": last_value(values, part)}
    found["drift"] = drift(values, part, task.parts.train)
    if season is not None:
        found[f"seasonal value ({season})"] = seasonal(values, part, season)
        found[f"seasonal change ({season})"] = seasonal_change(values, part, season)
    return [judge(task, name, forecast) for name, forecast in found.items()]


def verdicts(fits: Sequence[Judged], baselines: Sequence[Judged]) -> list[Verdict]:
    """Compare fits of one model on the test part with the best baseline, by MAE and by RMSE."""
    found = []
    for measure in ("mae", "rmse"):
        best = min(baselines, key=lambda baseline: getattr(baseline.test, measure))
        bar = getattr(best.test, measure)
        errors = [getattr(fit.test, measure) for fit in fits]
        # A baseline that is never off cannot be beaten.
        excess = float(np.mean(errors)) / bar - 1 if bar else float("inf")
        wins = sum(error < bar for error in errors)
        found.append(Verdict(measure.upper(), best.name, excess, wins))
    return found


def in_words(model: str, fits: Sequence[Judged], baselines: Sequence[Judged]) -> str:
    """Return in a sentence whether a model beats the baselines."""
    found = verdicts(fits, baselines)
    error = _means(fits)
    better = [
        baseline.name
        for baseline in baselines
        if baseline.test.mae <= error.mae and baseline.test.rmse <= error.rmse
    ]
    if better:
        names = better[0] if len(better) == 1 else f"{', '.join(better[:-1])} and {better[-1]}"
        head = f"{model} is worse than {names}"
    elif all(verdict.excess < 0 for verdict in found):
        head = f"{model} is better than every baseline"
    else:
        head = f"{model} is better by one measure, worse by the other"
    first, second = (verdict.baseline for verdict in found)
    shown = [first, "it" if second == first else second]
    tails = (_measured(v, name, len(fits)) for v, name in zip(found, shown, strict=True))
    return f"{head}: {'; '.join(tails)}"


def _means(fits: Sequence[Judged]) -> Accuracy:
    """Return the mean of each measure over fits, on the test part."""
    return Accuracy(*(float(mean) for mean in np.mean([fit.test for fit in fits], axis=0)))


def _measured(verdict: Verdict, baseline: str, count: int) -> str:
    if verdict.excess == float("inf"):
        return f"{verdict.measure} above {baseline}, which is never off"
    side = "below" if verdict.excess < 0 else "above"
    of_seeds = f", {verdict.wins} of {count} seeds below" if count > 1 else ""
    return f"{verdict.measure} {100 * abs(verdict.excess):.1f} % {side} {baseline}{of_seeds}"
