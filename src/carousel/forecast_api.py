"""`carousel.forecast`: fit a model to a time series and compare it with baselines."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carousel.errors import ConfigError, DataError, RunError, python_words
from carousel.forecast_report import ForecastFit, ForecastReport
from carousel.forecast_settings import ForecastSettings, small_model
from carousel.forecasting.baselines import check_season, estimate_season
from carousel.forecasting.evaluation import Judged, held_out, judge, judge_baselines
from carousel.forecasting.numbers import Decimal
from carousel.forecasting.order import Order
from carousel.forecasting.table import Series, parse_series
from carousel.forecasting.task import Task, frame
from carousel.input_files import TABLE_LIMIT, read_input
from carousel.machine import available_memory
from carousel.models.config import ModelConfig, setting_names
from carousel.plain_paths import readable, resolved
from carousel.threads import one_thread
from carousel.training.forecasting import (
    build_forecaster,
    fit_forecaster,
    forecast_ahead,
    forecast_part,
)
from carousel.training.keyword_settings import unknown_setting
from carousel.training.memory import check_weights
from carousel.training.supervised import Epoch, FitResult
from carousel.training.supervised_config import SupervisedConfig

Progress = Callable[[int, Epoch], object]


@dataclass(frozen=True, kw_only=True)
class ForecastPlan:
    """A forecast that is checked and not yet computed.

    Attributes:
        task: The series, its parts and its scaling.
        settings: What is done with it.
        model: Settings of the model.
        fit: Settings of the fits.
        season: Rows of a season, given or estimated; None if there is none.
        baselines: The baselines, judged.
    """

    task: Task
    settings: ForecastSettings
    model: ModelConfig
    fit: SupervisedConfig
    season: int | None
    baselines: list[Judged]

    @property
    def seeds(self) -> range:
        """The seed of each fit."""
        return range(self.fit.seed, self.fit.seed + self.settings.seeds)

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        model = build_forecaster(self.model, self.task.window, self.fit.seed)
        return sum(parameter.numel() for parameter in model.parameters())

    def run_seed(self, seed: int, progress: Progress | None = None) -> ForecastFit:
        """Fit one model and forecast with it.

        Args:
            seed: Of initialisation and of the order of examples.
            progress: Called with the seed and each epoch.

        Raises:
            DivergenceError: If a forecast is not finite.
        """
        model = build_forecaster(self.model, self.task.window, seed)
        for event in fit_forecaster(model, self.task, replace(self.fit, seed=seed)):
            if isinstance(event, FitResult):
                end = event
            elif progress is not None:
                progress(seed, event)
        forecasts = forecast_part(model, self.task, held_out(self.task))
        judged = judge(self.task, self.model.model, forecasts)
        return ForecastFit(seed, end, judged, forecast_ahead(model, self.task, self.settings.ahead))

    def report(self, fits: list[ForecastFit]) -> ForecastReport:
        """Return what these fits have found."""
        return ForecastReport(self.task, self.model, self.fit, self.season, fits, self.baselines)


def plan_forecast(
    series: Series, settings: ForecastSettings, model: ModelConfig, fit: SupervisedConfig
) -> ForecastPlan:
    """Check a forecast, and judge the baselines.

    Raises:
        ConfigError: If a setting does not suit the series.
        DataError: If the series is too short or constant, or has a value without logarithm.
    """
    if fit.seed + settings.seeds > 2**64:
        raise ConfigError(f"seed + seeds must be at most 2^64, got {fit.seed}")
    try:
        task = frame(series, window=settings.window, target=settings.target, is_log=settings.log)
    except DataError as error:
        if choice := series.notes.get("column"):  # which nobody named
            raise DataError(f"{error} (column {choice})") from None
        raise
    check_weights(model, 1, available_memory())
    if settings.season is None:
        season = estimate_season(task.train_values)
    else:
        season = settings.season
        check_season(season, task.parts.train)
    return ForecastPlan(
        task=task,
        settings=settings,
        model=model,
        fit=fit,
        season=season,
        baselines=judge_baselines(task, season),
    )


def forecast(
    data: str | os.PathLike[str] | Sequence[float] | NDArray[Any],
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    decimal: Decimal = "auto",
    order: Order = "auto",
    model: str | ModelConfig = "lstm",
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ForecastReport:
    """Fit a model to a time series, forecast with it, and compare it with simple baselines.

    The first 70 % of the values train, the next 15 % decide when to stop, and the last 15 % test:
    each value is forecast from the true ones before it. The results are those of
    `carousel forecast`.

    Args:
        data: The path of a CSV file, or the numbers themselves in the order of time.
        column: Name of the column, or its number from 1. Default: the last column of numbers that
            does not count the rows.
        encoding: Of the file.
        decimal: "point", "comma", or "auto": whichever makes sense of the column.
        order: Of the rows: "auto" (the oldest first, by their dates), "file" or "reverse".
        model: Name of a family (with embedding_size 16 and hidden_size 32 unless given), or a
            whole `ModelConfig`.
        out: New folder for forecast.csv, forecast.json and a plot. Default: nothing is written.
        progress: Called with the seed and an `Epoch` after each epoch.
        settings: window (24), target ("change"), log (False), season (estimated), seeds (1) and
            ahead (12), see `ForecastSettings`; fields of the model's config; and epochs,
            batch_size, learning_rate, max_grad_norm, patience and seed (`SupervisedConfig`).

    Returns:
        The report: `verdict` in a sentence, `ahead` beyond the end, `table()` as CSV, `facts()`.

    Raises:
        ConfigError: If a setting is unknown, impossible, or does not suit the series.
        DataError: If the file is no such table, or the series too short or constant.
        DivergenceError: If a forecast is not finite.
        RunError: If `out` exists.

    Example:
        >>> import math, carousel
        >>> wave = [math.sin(t / 3) for t in range(200)]
        >>> report = carousel.forecast(wave, epochs=2, ahead=3)
        >>> len(report.ahead)
        3
    """
    with python_words():
        chosen, config, fit = _sorted(model, settings)
        folder = None if out is None else _free(out)
        if isinstance(data, (str, os.PathLike)):
            series = read_series(
                Path(data), column=column, encoding=encoding, decimal=decimal, order=order
            )
        else:
            series = series_of(data)
        with one_thread():
            plan = plan_forecast(series, chosen, config, fit)
            report = plan.report([plan.run_seed(seed, progress) for seed in plan.seeds])
        if folder is not None:
            report.save(folder)
        return report


def _sorted(
    model: str | ModelConfig, settings: Mapping[str, Any]
) -> tuple[ForecastSettings, ModelConfig, SupervisedConfig]:
    """Return the configs that keyword settings belong to."""
    own = {each.name for each in fields(ForecastSettings)}
    of_fit = {each.name for each in fields(SupervisedConfig)}
    of_model = setting_names(type(model) if isinstance(model, ModelConfig) else _config(model))
    for name in settings:
        if name not in (*own, *of_fit, *of_model):
            raise unknown_setting(name, {*own, *of_fit, *of_model}, "forecast")
    given = {name: value for name, value in settings.items() if name in of_model}
    if isinstance(model, ModelConfig):
        if given:
            raise ConfigError(f"{next(iter(given))} stands in the ModelConfig that model gives")
        config = model
    else:
        config = small_model(model, **given)
    return (
        ForecastSettings(**{name: settings[name] for name in settings if name in own}),
        config,
        SupervisedConfig(**{name: settings[name] for name in settings if name in of_fit}),
    )


def _config(name: str) -> type[ModelConfig]:
    return type(small_model(name))


def _free(folder: str | os.PathLike[str]) -> Path:
    path = resolved(Path(folder))
    if os.path.lexists(path):
        raise RunError(f"out: {folder} is there already; name another folder")
    return path


def read_series(
    path: Path,
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    decimal: Decimal = "auto",
    order: Order = "auto",
) -> Series:
    """Read a column of a CSV file; see `parse_series`.

    Raises:
        DataError: If there is no such file, or it is no such table.
        ConfigError: If there is no such column or encoding.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a CSV file")
    if not path.exists():
        raise DataError(f"no such file: {path}")
    return parse_series(
        read_input(path, TABLE_LIMIT),
        readable(path.name),
        column=column,
        encoding=encoding,
        decimal=decimal,
        order=order,
    )


def series_of(numbers: Any) -> Series:
    """Return numbers in the order of time as a series.

    Raises:
        DataError: If they are not one-dimensional, not numbers, or not finite.
    """
    try:
        values = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"data must be a path or numbers, got {type(numbers).__name__}") from None
    if values.ndim != 1:
        raise DataError(f"data must be one-dimensional, got the shape {values.shape}")
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise DataError(f"data must be finite numbers, and number {place + 1} is {values[place]}")
    count = np.arange(1, len(values) + 1)
    return Series("data", "values", values, tuple(map(str, count.tolist())), count)
