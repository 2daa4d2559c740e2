"""Forecast sunspots and airline passengers with three families; compare with what learns nothing.

python experiments/forecasting/run.py FOLDER [--seeds 5] [--plots FOLDER]

FOLDER holds monthly-sunspots.csv and airline-passengers.csv.
"""

# ruff: noqa: T201 - a script that prints tables

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from carousel.forecasting.baselines import estimate_season
from carousel.forecasting.evaluation import Judged, held_out, judge, judge_baselines
from carousel.forecasting.table import parse_series
from carousel.forecasting.task import Target, Task, frame
from carousel.inspection.forecasts import ForecastPicture, forecast_plot
from carousel.models.config import ModelConfig
from carousel.training.forecasting import (
    build_forecaster,
    fit_forecaster,
    forecast_ahead,
    forecast_part,
)
from carousel.training.supervised import FitResult
from carousel.training.supervised_config import SupervisedConfig

Model = Literal["rnn", "gru", "lstm"]
WINDOW = 24  # as `carousel forecast` takes of itself
MODELS: tuple[Model, ...] = ("rnn", "gru", "lstm")


class Signal(NamedTuple):
    """What of a series a model reads and answers."""

    target: Target
    is_log: bool

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.target}s{' of logarithms' * self.is_log}"


VALUES, CHANGES = Signal("value", False), Signal("change", False)
LOG_VALUES, LOG_CHANGES = Signal("value", True), Signal("change", True)


class Question(NamedTuple):
    """A series; sunspots are 0 now and then, and have no logarithm."""

    file: str
    signals: tuple[Signal, ...]
    ahead: int  # rows forecast beyond the end, in the plots


QUESTIONS = (
    Question("monthly-sunspots.csv", (VALUES, CHANGES), 132),
    Question("airline-passengers.csv", (VALUES, LOG_VALUES, CHANGES, LOG_CHANGES), 24),
)


class Fit(NamedTuple):
    """One fit: how it ended, its forecasts, and those beyond the end."""

    end: FitResult
    judged: Judged
    ahead: NDArray[np.float64]


def fit(task: Task, model: Model, seed: int, ahead: int) -> Fit:
    """Fit one model with the settings that `carousel forecast` takes of itself."""
    config = ModelConfig(model=model, embedding_size=16, hidden_size=32)
    forecaster = build_forecaster(config, task.window, seed)
    *_, end = fit_forecaster(forecaster, task, SupervisedConfig(seed=seed))
    assert isinstance(end, FitResult), "the last event"
    judged = judge(task, model, forecast_part(forecaster, task, held_out(task)))
    return Fit(end, judged, forecast_ahead(forecaster, task, ahead))


def row(names: Sequence[str], judged: Sequence[Judged], baselines: Sequence[Judged]) -> str:
    """Return a row of the table: mean ± standard deviation over seeds, and how many beat what."""
    figures = [_figure([getattr(each.test, m) for each in judged]) for m in ("mae", "rmse", "mase")]
    bars = (baselines[0].test.mae, min(baseline.test.mae for baseline in baselines))
    wins = [f"{sum(each.test.mae < bar for each in judged)} of {len(judged)}" for bar in bars]
    return f"| {' | '.join([*names, *figures, *(wins if len(judged) > 1 else ['', ''])])} |"


def _figure(values: Sequence[float]) -> str:
    digits = 1 if max(values) >= 10 else 2
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(question: Question, folder: Path, seeds: int, plots: Path | None) -> None:
    """Fit every model to every signal of one series, and print how far off they are."""
    series = parse_series((folder / question.file).read_bytes(), question.file)
    plain = frame(series, window=WINDOW, target="value", is_log=False)
    baselines = judge_baselines(plain, estimate_season(plain.train_values))
    print(f"\n**{question.file}** ({len(plain.parts.test)} rows of test part)\n")
    print("| forecast by | from | MAE | RMSE | MASE | seeds below last value | below the best |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for baseline in baselines:
        print(row([baseline.name, ""], [baseline], baselines), flush=True)
    for signal in question.signals:
        task = frame(series, window=WINDOW, target=signal.target, is_log=signal.is_log)
        for model in MODELS:
            fits = []
            for seed in range(seeds):
                fits.append(fit(task, model, seed, question.ahead))
                print(f"{question.file}, {model} of {signal.name}: {fits[-1].end}", file=sys.stderr)
            print(row([model, signal.name], [each.judged for each in fits], baselines), flush=True)
            if plots is not None and model == "lstm":
                draw(task, min(fits, key=lambda each: each.end.best_loss), baselines, plots)


def draw(task: Task, chosen: Fit, baselines: Sequence[Judged], plots: Path) -> None:
    """Draw the fit that does best on the validation part."""
    best = min(baselines, key=lambda baseline: baseline.test.mae)
    picture = ForecastPicture(
        name=task.series.column,
        labels=task.series.labels,
        truth=task.series.values,
        validation=task.parts.validation,
        model="lstm",
        forecast=chosen.judged.forecast_part,
        baseline=best.name,
        baseline_forecast=best.forecast_part,
        ahead=chosen.ahead,
    )
    name = f"{Path(task.series.name).stem}-{task.target}{'-log' * task.is_log}"
    forecast_plot(picture, plots / name)


def main() -> None:
    """Go through the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the two CSV files")
    parser.add_argument("--seeds", type=int, default=5, help="fits of each model")
    parser.add_argument("--plots", type=Path, help="folder for plots of the LSTM's forecasts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.plots is not None:
        if given.plots.is_dir() and any(given.plots.iterdir()):
            raise SystemExit(f"--plots {given.plots} is not empty; name another folder")
        given.plots.mkdir(parents=True, exist_ok=True)
    for question in QUESTIONS:
        table(question, given.folder, given.seeds, given.plots)
    print(f"\n{time.process_time():.0f} s of one core", file=sys.stderr)


if __name__ == "__main__":
    main()
