"""Forecasts of a series by a model of any family: learned from the training part alone."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from carousel.errors import ConfigError, DivergenceError
from carousel.forecasting.evaluation import held_out, judge, judge_baselines
from carousel.forecasting.table import Series
from carousel.forecasting.task import Target, Task, frame
from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel
from carousel.training.forecasting import (
    build_forecaster,
    examples,
    fit_forecaster,
    forecast_ahead,
    forecast_part,
)
from carousel.training.supervised import FitResult
from carousel.training.supervised_config import SupervisedConfig

FAMILIES = ("rnn", "gru", "lstm", "mlp", "transformer")
PERIOD, N = 12, 120


def sine(noise: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 10 + 5 * np.sin(2 * np.pi * np.arange(N) / PERIOD) + noise * rng.normal(size=N)


def task(values: np.ndarray, *, target: Target = "value", window: int = 6) -> Task:
    series = Series("x.csv", "n", values, tuple(map(str, range(len(values)))), np.arange(N) + 1)
    return frame(series, window=window, target=target, is_log=False)


def fitted(ours: Task, *, kind: str = "gru", **config: Any) -> tuple[SequenceModel, FitResult]:
    heads = {"num_heads": 2} if kind == "transformer" else {}
    sizes: Any = {"model": kind, "embedding_size": 8, "hidden_size": 12, **heads}
    model = build_forecaster(ModelConfig(**sizes), ours.window, 0)
    *_, end = fit_forecaster(model, ours, SupervisedConfig(**config))
    assert isinstance(end, FitResult)
    return model, end


def bits(model: SequenceModel) -> list[bytes]:
    return [value.numpy().tobytes() for value in model.state_dict().values()]


@pytest.mark.parametrize("target", ["value", "change"])
def test_no_bit_of_a_weight_depends_on_what_comes_after_the_training_part(target: Target) -> None:
    """Without early stopping: that is what the validation part is for."""
    ours = task(sine(), target=target)
    settings = {"epochs": 2, "patience": 0}
    changed = sine()
    validation, test = ours.parts.validation, ours.parts.test
    changed[validation.start :] = np.random.default_rng(1).normal(size=N - validation.start)
    models = [
        build_forecaster(ModelConfig(embedding_size=4, hidden_size=6), 6, 0) for _ in range(2)
    ]
    for model, values in zip(models, (sine(), changed), strict=True):
        run = fit_forecaster(model, task(values, target=target), SupervisedConfig(**settings))
        for _ in range(2):
            next(run)  # an epoch; the end would take back the worse one
    assert bits(models[0]) == bits(models[1])
    # With early stopping nothing depends on the test part.
    changed = sine()
    changed[test.start :] = 1e3
    (one, end), (other, same) = (
        fitted(task(v, target=target), epochs=2) for v in (sine(), changed)
    )
    assert bits(one) == bits(other)
    assert end == same


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_sine_is_learned_far_better_than_the_last_value(kind: str) -> None:
    ours = task(sine())
    model, _ = fitted(ours, kind=kind, epochs=20, learning_rate=0.02, batch_size=12)
    judged = judge(ours, kind, forecast_part(model, ours, held_out(ours)))
    last, *_ = judge_baselines(ours, PERIOD)
    assert judged.test.mae < 0.15 * last.test.mae
    assert judged.test.rmse < 0.15 * last.test.rmse


def test_what_was_learned_goes_on_beyond_the_end() -> None:
    ours = task(sine(noise=0.0), target="change", window=PERIOD)
    model, _ = fitted(ours, epochs=20, learning_rate=0.02, batch_size=12)
    ahead = forecast_ahead(model, ours, PERIOD)
    truth = 10 + 5 * np.sin(2 * np.pi * np.arange(N, N + PERIOD) / PERIOD)
    assert np.abs(ahead - truth).max() < 1.5
    assert forecast_ahead(model, ours, 0).shape == (0,)
    np.testing.assert_array_equal(forecast_ahead(model, ours, 3), ahead[:3])


@pytest.mark.parametrize("target", ["value", "change"])
def test_the_first_step_ahead_is_the_forecast_of_the_next_row(target: Target) -> None:
    """Appended to the file, it would be forecast alike."""
    whole = sine()
    shorter = Series("x.csv", "n", whole[:-1], tuple(map(str, range(N - 1))), np.arange(N - 1))
    ours = frame(shorter, window=6, target=target, is_log=False)
    model, _ = fitted(ours, epochs=1)
    longer = Task(**{**vars(ours), "series": task(whole).series, "signal": signal(ours, whole)})
    last = forecast_part(model, longer, range(N - 1, N))
    np.testing.assert_allclose(forecast_ahead(model, ours, 1), last, rtol=1e-6)


def signal(ours: Task, values: np.ndarray) -> np.ndarray:
    """The signal that a task's scaling makes of other values."""
    return ours.scaling.scale(np.diff(values) if ours.target == "change" else values)


def test_examples_are_the_tasks_windows_one_number_at_a_time() -> None:
    ours = task(sine())
    for part in ours.parts:
        inputs, targets = examples(ours, part)
        assert inputs.dtype == targets.dtype == torch.float32
        torch.testing.assert_close(inputs[..., 0], torch.from_numpy(ours.inputs(part)).float())
        torch.testing.assert_close(targets[:, 0], torch.from_numpy(ours.targets(part)).float())
        assert (inputs.dim(), targets.dim()) == (3, 2)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_a_limited_context_is_the_window_unless_it_is_set(kind: str) -> None:
    sizes: Any = {"model": kind, "embedding_size": 8, "hidden_size": 12}
    assert build_forecaster(ModelConfig(**sizes), 50, 0).config.context_length == 50
    own = ModelConfig(**sizes, context_length=7)
    assert build_forecaster(own, 50, 0).config.context_length == 7
    model = build_forecaster(ModelConfig(**sizes), 20, 0).eval()
    window = torch.randn(1, 20, 1, requires_grad=True)
    model(window)[0].sum().backward()
    assert window.grad is not None
    assert (window.grad != 0).all(), "it sees the whole window"


def test_a_model_is_decided_by_its_seed() -> None:
    config = ModelConfig(hidden_size=5)
    models = [build_forecaster(config, 8, seed) for seed in (1, 1, 2)]
    assert bits(models[0]) == bits(models[1]) != bits(models[2])


def test_a_forecast_that_is_not_finite_is_refused() -> None:
    ours = task(sine())
    model, _ = fitted(ours, epochs=1)
    with torch.no_grad():
        model.output.bias.fill_(math.inf)
    for run in (
        lambda: forecast_part(model, ours, ours.parts.test),
        lambda: forecast_ahead(model, ours, 2),
    ):
        with pytest.raises(DivergenceError, match="a forecast is not finite: the series grows"):
            run()


def test_positions_that_end_before_the_window_are_refused_at_once() -> None:
    config = ModelConfig(model="transformer", positions="learned", context_length=7)
    message = "learned positions end after context_length 7, and the window is 8: a window of 7"
    with pytest.raises(ConfigError, match=message):
        build_forecaster(config, 8, 0)
    build_forecaster(config, 7, 0)
