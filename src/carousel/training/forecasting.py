"""A model of any family fitted to a series: a window of n numbers to the one after it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from carousel.errors import ConfigError, DivergenceError
from carousel.forecasting.task import Task
from carousel.models.config import ModelConfig
from carousel.models.families.family import WindowedConfig
from carousel.models.sequence import SequenceModel
from carousel.training.supervised import (
    Epoch,
    Examples,
    FitResult,
    fit_examples,
    predict,
    squared_error,
)
from carousel.training.supervised_config import SupervisedConfig


def build_forecaster(config: ModelConfig, window: int, seed: int) -> SequenceModel:
    """Return a fresh model that reads one number at a time and answers one; the seed decides it.

    Where the architecture sees a limited context and the config does not say which, it is the
    window.

    Raises:
        ConfigError: If the model's positions end before the window does.
    """
    if isinstance(config, WindowedConfig) and config.context_length is None:
        config = replace(config, context_length=window)
    if config.max_length is not None and config.max_length < window:
        raise ConfigError(
            f"{config.position_kind} positions end after context_length {config.max_length}, "
            f"and the window is {window}: a window of {config.max_length} would work"
        )
    torch.manual_seed(seed)
    return SequenceModel(config, input_size=1, output_size=1)


def examples(task: Task, part: range) -> Examples:
    """Return the windows of a part, (K, n, 1), and what is to be answered to them, (K, 1)."""
    return Examples(_tensor(task.inputs(part)), _tensor(task.targets(part)))


def fit_forecaster(
    model: SequenceModel, task: Task, config: SupervisedConfig
) -> Iterator[Epoch | FitResult]:
    """Train on the training part, until the error on the validation part no longer falls."""
    train, validation = (examples(task, p) for p in (task.parts.train, task.parts.validation))
    return fit_examples(model, train, validation, squared_error, config)


def forecast_part(model: SequenceModel, task: Task, part: range) -> NDArray[np.float64]:
    """Return forecasts, each from the true values before it, in the units of the data.

    Raises:
        DivergenceError: If one is not finite.
    """
    answers = predict(model, _tensor(task.inputs(part)))
    return _finite(task.forecasts(part, answers[:, 0].double().numpy()))


def forecast_ahead(model: SequenceModel, task: Task, count: int) -> NDArray[np.float64]:
    """Return forecasts of values after the last, each from those before it, in units of the data.

    Raises:
        DivergenceError: If one is not finite.
    """

    def answer(window: NDArray[np.float64]) -> float:
        return predict(model, _tensor(window[None])).item()

    return _finite(task.free_run(answer, count))


def _tensor(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values).float().unsqueeze(-1)


def _finite(forecasts: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(forecasts).all():
        raise DivergenceError(
            "a forecast is not finite: the series grows far beyond what was trained on; --log or "
            "--target change may help"
        )
    return forecasts
