"""Baselines and measures against their definitions, and the verdict on a model."""

import math

import numpy as np
import pytest

from carousel.errors import ConfigError
from carousel.forecasting.baselines import (
    autocorrelation,
    check_season,
    drift,
    estimate_season,
    last_value,
    seasonal,
    seasonal_change,
)
from carousel.forecasting.evaluation import (
    Judged,
    held_out,
    in_words,
    judge,
    judge_baselines,
    verdicts,
)
from carousel.forecasting.metrics import Accuracy, accuracy
from carousel.forecasting.table import Series
from carousel.forecasting.task import frame

VALUES = np.random.default_rng(0).normal(size=50)
TRAIN, PART = range(0, 35), range(41, 50)


def test_baselines_are_what_they_are_defined_as() -> None:
    slope = (VALUES[34] - VALUES[0]) / 34
    expected = {
        "last": [VALUES[t - 1] for t in PART],
        "seasonal": [VALUES[t - 7] for t in PART],
        "seasonal change": [VALUES[t - 1] + VALUES[t - 7] - VALUES[t - 8] for t in PART],
        "drift": [VALUES[t - 1] + slope for t in PART],
    }
    got = {
        "last": last_value(VALUES, PART),
        "seasonal": seasonal(VALUES, PART, 7),
        "seasonal change": seasonal_change(VALUES, PART, 7),
        "drift": drift(VALUES, PART, TRAIN),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-14, err_msg=name)


def test_seasonal_baselines_know_a_season_by_heart() -> None:
    season = np.tile([3.0, 1.0, 4.0, 1.0, 5.0], 10)
    trend = season + 0.5 * np.arange(50)
    np.testing.assert_array_equal(seasonal(season, PART, 5), season[41:])
    np.testing.assert_allclose(seasonal_change(trend, PART, 5), trend[41:], rtol=1e-14)
    np.testing.assert_allclose(seasonal(trend, PART, 5), trend[41:] - 2.5, rtol=1e-14)


def test_the_mean_change_of_the_training_part_is_all_that_drift_learns() -> None:
    changed = VALUES.copy()
    changed[35:41] = 99
    np.testing.assert_allclose(drift(changed, PART, TRAIN)[1:], drift(VALUES, PART, TRAIN)[1:])


def test_errors_by_hand() -> None:
    truth, forecast = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 1.0, 8.0])
    train = np.array([10.0, 12.0, 11.0])  # changes of 2 and 1: 1.5 on average
    # errors 1, 0, -2, 4
    expected = Accuracy(mae=7 / 4, rmse=math.sqrt(21 / 4), mase=(7 / 4) / 1.5)
    assert accuracy(truth, forecast, train) == pytest.approx(expected, rel=1e-15)


def test_the_last_value_has_a_mase_of_one_where_it_is_measured() -> None:
    train = VALUES[:35]
    assert accuracy(train[1:], train[:-1], train).mase == pytest.approx(1, rel=1e-15)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_autocorrelation_is_what_it_is_defined_as(count: int) -> None:
    centred = VALUES[:count] - VALUES[:count].mean()
    expected = [centred[: count - k] @ centred[k:] / (centred @ centred) for k in range(count)]
    np.testing.assert_allclose(autocorrelation(VALUES[:count]), expected, atol=1e-14)
    np.testing.assert_array_equal(autocorrelation(np.full(4, 2.0)), np.zeros(4))


@pytest.mark.parametrize("season", [4, 7, 12, 52])
@pytest.mark.parametrize("trend", [0.0, 0.3])
def test_a_season_is_found_in_noise_and_on_a_slope(season: int, trend: float) -> None:
    rng, time = np.random.default_rng(season), np.arange(6 * season + 3)
    values = 10 * np.sin(2 * np.pi * time / season) + trend * time + rng.normal(size=len(time))
    assert estimate_season(values) == season


def test_where_there_is_no_season_none_is_found() -> None:
    rng = np.random.default_rng(0)
    assert estimate_season(rng.normal(size=400)) is None
    assert estimate_season(np.arange(40.0)) is None
    assert estimate_season(np.arange(40.0) ** 2) is None
    assert estimate_season(np.array([1.0, 2.0])) is None
    assert estimate_season(np.ones(20)) is None


@pytest.mark.parametrize("season", [-1, 0, 1, 35, 36])
def test_a_season_that_does_not_fit_is_refused(season: int) -> None:
    with pytest.raises(ConfigError, match=f"season must be from 2 to 34, .*, got {season}"):
        check_season(season, TRAIN)


def test_the_longest_season_that_fits_can_be_forecast() -> None:
    check_season(34, TRAIN)
    assert len(seasonal_change(VALUES, range(35, 50), 34)) == 15


# The verdict.

SERIES = Series("x.csv", "n", VALUES, tuple(map(str, range(50))), np.arange(50))
TASK = frame(SERIES, window=3, target="value", is_log=False)


def test_each_part_is_judged_by_its_own_truth() -> None:
    places = held_out(TASK)
    assert (places.start, places.stop) == (35, 50)
    off = np.concatenate([np.full(len(TASK.parts.validation), 2.0), np.full(8, 3.0)])
    judged = judge(TASK, "m", VALUES[35:] + off)
    assert len(TASK.parts.test) == 8
    assert judged.validation[:2] == pytest.approx((2, 2))
    assert judged.test[:2] == pytest.approx((3, 3))
    scale = np.abs(np.diff(VALUES[:35])).mean()
    assert judged.test.mase == pytest.approx(3 / scale)


def test_baselines_forecast_all_held_out_places() -> None:
    found = {each.name: each.forecast for each in judge_baselines(TASK, 7)}
    places = held_out(TASK)
    assert list(found) == ["last value", "drift", "seasonal value (7)", "seasonal change (7)"]
    np.testing.assert_array_equal(found["last value"], last_value(VALUES, places))
    np.testing.assert_array_equal(found["drift"], drift(VALUES, places, TASK.parts.train))
    np.testing.assert_array_equal(found["seasonal value (7)"], seasonal(VALUES, places, 7))
    np.testing.assert_array_equal(found["seasonal change (7)"], seasonal_change(VALUES, places, 7))
    assert [each.name for each in judge_baselines(TASK, None)] == ["last value", "drift"]


def judged(name: str, mae: float, rmse: float) -> Judged:
    return Judged(name, np.zeros(1), Accuracy(0, 0, 0), Accuracy(mae, rmse, mae))


BASELINES = [judged("last value", 10, 20), judged("drift", 12, 16)]


def said(*errors: tuple[float, float]) -> str:
    return in_words("gru", [judged("gru", *error) for error in errors], BASELINES)


def test_a_verdict_is_said_plainly() -> None:
    assert said((8, 12)) == (
        "gru is better than every baseline: MAE 20.0 % below last value; RMSE 25.0 % below drift"
    )
    assert said((11, 20)) == (
        "gru is worse than last value: MAE 10.0 % above last value; RMSE 25.0 % above drift"
    )
    assert said((15, 24)) == (
        "gru is worse than last value and drift: MAE 50.0 % above last value; "
        "RMSE 50.0 % above drift"
    )
    assert said((10, 20)).startswith("gru is worse than last value: ")
    assert in_words("gru", [judged("gru", 11, 18)], BASELINES[:1] * 2) == (
        "gru is better by one measure, worse by the other: MAE 10.0 % above last value; "
        "RMSE 10.0 % below it"
    )
    assert said((9, 17)) == (
        "gru is better by one measure, worse by the other: MAE 10.0 % below last value; "
        "RMSE 6.2 % above drift"
    )


def test_several_fits_are_judged_by_their_mean() -> None:
    assert said((6, 10), (8, 12), (13, 17)) == (
        "gru is better than every baseline: MAE 10.0 % below last value, 2 of 3 seeds below; "
        "RMSE 18.8 % below drift, 2 of 3 seeds below"
    )


def test_what_is_never_off_cannot_be_beaten() -> None:
    perfect = [judged("last value", 10, 20), judged("seasonal value (4)", 0, 0)]
    fits = [judged("gru", 1, 2)]
    assert [verdict.excess for verdict in verdicts(fits, perfect)] == [math.inf, math.inf]
    assert in_words("gru", fits, perfect) == (
        "gru is worse than seasonal value (4): MAE above seasonal value (4), which is never off; "
        "RMSE above it, which is never off"
    )
