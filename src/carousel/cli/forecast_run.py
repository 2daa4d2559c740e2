"""What `carousel forecast` does once it has a series: fit, forecast, judge."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from carousel.cli.console import NARROW, can_redraw, console, rows
from carousel.cli.forecast_command import Forecast
from carousel.cli.progress import VisibleProgress
from carousel.forecasting.baselines import check_season, estimate_season
from carousel.forecasting.evaluation import Judged, held_out, judge, judge_baselines
from carousel.forecasting.task import Task
from carousel.machine import available_memory
from carousel.models.sequence import SequenceModel
from carousel.training.forecasting import (
    build_forecaster,
    fit_forecaster,
    forecast,
    forecast_ahead,
)
from carousel.training.memory import check_weights
from carousel.training.supervised import Epoch, FitResult


class Fit(NamedTuple):
    """One fit.

    Attributes:
        seed: It depends on.
        end: How it ended.
        judged: Its forecasts of the held-out rows.
        ahead: (M,), its forecasts beyond the end, in the units of the data.
    """

    seed: int
    end: FitResult
    judged: Judged
    ahead: NDArray[np.float64]


class Report(NamedTuple):
    """What was found.

    Attributes:
        command: What was asked for.
        task: The series and its parts.
        season: Rows of a season; None: none was named, and none seen.
        fits: One a seed.
        baselines: What learns next to nothing.
    """

    command: Forecast
    task: Task
    season: int | None
    fits: list[Fit]
    baselines: list[Judged]

    @property
    def chosen(self) -> Fit:
        """The fit whose forecasts are shown: of the least validation loss, whatever the test."""
        return min(self.fits, key=lambda fit: fit.end.best_loss)


def run(command: Forecast, task: Task, path: Path) -> Report:
    """Say what is going to happen, and do it."""
    check_weights(command.model, 1, available_memory())
    season = command.season
    if season is None:
        season = estimate_season(task.train_values)
    else:
        check_season(season, task.parts.train)
    baselines = judge_baselines(task, season)
    _announce(command, task, season, path)
    fits = [_fit(command, task, command.fit.seed + k) for k in range(command.seeds)]
    return Report(command, task, season, fits, baselines)


def _fit(command: Forecast, task: Task, seed: int) -> Fit:
    """Fit one model, show how it goes, and let it forecast."""
    model = build_forecaster(command.model, task.window, seed)
    with _progress(seed, command.fit.epochs) as show:
        for event in fit_forecaster(model, task, replace(command.fit, seed=seed)):
            if isinstance(event, Epoch):
                show(event)
            else:
                end = event
    judged = judge(task, command.model.model, forecast(model, task, held_out(task)))
    console.print(
        f"seed {seed}   best at epoch {end.best_epoch:,} of {end.epochs:,}: validation "
        f"RMSE {judged.validation.rmse:.4g}, MAE {judged.validation.mae:.4g}"
    )
    return Fit(seed, end, judged, forecast_ahead(model, task, command.ahead))


@contextmanager
def _progress(seed: int, epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Yield what moves a bar on a terminal, and does nothing elsewhere."""
    with VisibleProgress(
        TextColumn("seed {task.description}"),
        *((BarColumn(),) if console.width >= NARROW else ()),
        MofNCompleteColumn(),
        TextColumn(f"{'epochs at most, validation ' * (console.width >= NARROW)}loss "),
        TextColumn("{task.fields[loss]}"),
        console=console,
        transient=True,
        disable=not can_redraw(console),
    ) as bar:
        task = bar.add_task(str(seed), total=epochs, loss="…")
        yield lambda epoch: bar.update(
            task, completed=epoch.number, loss=f"{epoch.validation_loss:.4f}"
        )


def _announce(command: Forecast, task: Task, season: int | None, path: Path) -> None:
    """Print what was read and what is going to happen."""
    series, parts, model = task.series, task.parts, command.model
    parameters = _parameters(build_forecaster(model, task.window, command.fit.seed))
    windows = len(task.places(parts.train))
    signal = "changes" if task.target == "change" else "values"
    shown = {
        "series": f"{series.name}: {len(series):,} values of {series.column}, from "
        f"{series.labels[0]} to {series.labels[-1]}",
        **series.notes,
        "parts": f"{len(parts.train):,} train, {len(parts.validation):,} validation, "
        f"{len(parts.test):,} test",
        "model": f"{model.model}{f' ({model.variant})' if model.variant else ''}, embedding "
        f"{model.embedding_size}, hidden {model.hidden_size}, layers {model.num_layers}: "
        f"{parameters:,} parameters",
        "signal": f"{task.window} {signal}{' of logarithms' * task.is_log} to the next, scaled by "
        f"the training part's mean {task.scaling.mean:.4g} and deviation "
        f"{task.scaling.deviation:.4g}",
        "fit": f"{windows:,} windows, at most {command.fit.epochs:,} epochs, adam "
        f"{command.fit.learning_rate:g}, {command.seeds} seed{'s' * (command.seeds > 1)}",
    }
    if season is None:
        shown["season"] = "the training part shows none; --season names one"
    elif command.season is None:
        shown["season"] = f"{season} rows, as the training part suggests; --season names another"
    rows(shown | {"run": str(path)})


def _parameters(model: SequenceModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
