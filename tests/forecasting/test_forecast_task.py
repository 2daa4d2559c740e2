"""Parts, scaling, windows and the way back; and that nothing leaks into the training part."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.errors import ConfigError, DataError
from carousel.forecasting.split import split
from carousel.forecasting.table import Series
from carousel.forecasting.task import Target, Task, frame

KINDS = list(product(("value", "change"), (False, True)))
N, WINDOW = 60, 5


def series(values: np.ndarray) -> Series:
    count = len(values)
    labels = tuple(f"day {k}" for k in range(count))
    return Series("x.csv", "n", values.astype(float), labels, np.arange(count) + 2)


def growing(seed: int = 0) -> np.ndarray:
    """Positive, and larger in the test part than anywhere before."""
    noise = np.random.default_rng(seed).uniform(0.5, 1.5, size=N)
    return noise * np.linspace(1, 9, N) ** 2


def task(target: Target, is_log: bool, values: np.ndarray | None = None) -> Task:
    own = growing() if values is None else values
    return frame(series(own), window=WINDOW, target=target, is_log=is_log)


@settings(deadline=None)
@given(st.integers(7, 3000))
def test_parts_follow_one_another_and_hold_everything(length: int) -> None:
    parts = split(length)
    assert [k for part in parts for k in part] == list(range(length))
    # Each border is less than one value away from 70 and 85 per cent.
    assert abs(len(parts.train) - 0.7 * length) <= 0.5
    assert abs(parts.test.start - 0.85 * length) <= 0.5


@pytest.mark.parametrize("length", range(7))
def test_a_series_too_short_to_part_is_refused(length: int) -> None:
    message = f"the series has {length} values, too few to train, validate and test"
    with pytest.raises(DataError, match=message):
        split(length)


@pytest.mark.parametrize(("target", "is_log"), KINDS)
def test_a_window_is_what_stands_before_its_target(target: Target, is_log: bool) -> None:
    ours = task(target, is_log)
    level = np.log(growing()) if is_log else growing()
    numbers = level if target == "value" else np.append(np.nan, np.diff(level))
    train = numbers[: ours.parts.train.stop]
    scaled = (numbers - np.nanmean(train)) / np.nanstd(train)
    for part in ours.parts:
        places = ours.places(part)
        assert places.stop == part.stop
        assert places.start == part.start or part.start == 0
        inputs, targets = ours.inputs(part), ours.targets(part)
        assert inputs.shape == (len(places), WINDOW)
        for k, place in enumerate(places):
            np.testing.assert_allclose(inputs[k], scaled[place - WINDOW : place], atol=1e-12)
            np.testing.assert_allclose(targets[k], scaled[place], atol=1e-12)
    # The training part alone loses places, those before which there is no whole window.
    assert ours.places(ours.parts.train).start == WINDOW + (target == "change")


@pytest.mark.parametrize(("target", "is_log"), KINDS)
def test_perfect_answers_are_perfect_forecasts(target: Target, is_log: bool) -> None:
    ours = task(target, is_log)
    for part in ours.parts:
        places = ours.places(part)
        forecasts = ours.forecasts(part, ours.targets(part))
        truth = ours.series.values[places.start : places.stop]
        np.testing.assert_allclose(forecasts, truth, rtol=1e-12)


def test_an_answer_of_no_change_is_the_mean_change_on_top_of_the_last_value() -> None:
    ours, values = task("change", is_log=False), growing()
    test = ours.parts.test
    drift = np.diff(values[: ours.parts.train.stop]).mean()
    forecasts = ours.forecasts(test, np.zeros(len(test)))
    np.testing.assert_allclose(forecasts, values[test.start - 1 : -1] + drift, rtol=1e-12)


@pytest.mark.parametrize(("target", "is_log"), KINDS)
def test_a_free_run_reads_its_own_answers(target: Target, is_log: bool) -> None:
    """It continues what comes, as if that had been in the file."""
    later = growing(1)[:4]
    whole = np.concatenate([growing(), later])
    ours = task(target, is_log)
    level = np.log(whole) if is_log else whole
    numbers = level if target == "value" else np.append(np.nan, np.diff(level))
    signal = ours.scaling.scale(numbers)
    seen = []

    def answer(window: np.ndarray) -> float:
        seen.append(window)
        return float(signal[N - 1 + len(seen)])

    np.testing.assert_allclose(ours.free_run(answer, 4), later, rtol=1e-9)
    for k, window in enumerate(seen):
        np.testing.assert_allclose(window, signal[N + k - WINDOW : N + k], atol=1e-12)
    assert ours.free_run(answer, 0).shape == (0,)


@pytest.mark.parametrize(("target", "is_log"), KINDS)
def test_nothing_after_the_training_part_changes_what_is_learned_from(
    target: Target, is_log: bool
) -> None:
    ours = task(target, is_log)
    train = ours.parts.train
    for place in range(train.stop, N):
        changed = growing()
        changed[place] = 1e5 + place
        other = task(target, is_log, changed)
        assert other.scaling == ours.scaling
        assert other.inputs(train).tobytes() == ours.inputs(train).tobytes()
        assert other.targets(train).tobytes() == ours.targets(train).tobytes()
    changed = growing()
    changed[train.stop - 1] = 1e5
    assert task(target, is_log, changed).scaling != ours.scaling, "the test sees nothing"


@pytest.mark.parametrize(("target", "is_log"), KINDS)
def test_no_value_is_input_to_its_own_forecast_or_to_an_earlier_one(
    target: Target, is_log: bool
) -> None:
    ours = task(target, is_log)
    test = ours.parts.test
    for place in test:
        changed = growing()
        changed[place] *= 3
        other = task(target, is_log, changed)
        before = place - test.start + 1
        np.testing.assert_array_equal(other.inputs(test)[:before], ours.inputs(test)[:before])
        answers = np.zeros(len(test))
        np.testing.assert_array_equal(
            other.forecasts(test, answers)[:before], ours.forecasts(test, answers)[:before]
        )


def test_the_training_signal_has_mean_0_and_deviation_1() -> None:
    for target, is_log in KINDS:
        ours = task(target, is_log)
        train = ours.signal[: ours.parts.train.stop - (target == "change")]
        assert abs(train.mean()) < 1e-12
        assert abs(train.std() - 1) < 1e-12


@pytest.mark.parametrize("values", [np.full(N, 112.3), np.full(N, 0.1), np.zeros(N)], ids=str)
@pytest.mark.parametrize("target", ["value", "change"])
def test_a_constant_training_part_is_refused(values: np.ndarray, target: Target) -> None:
    values = values.copy()
    values[-1] = 7.0
    with pytest.raises(DataError, match=r"of the training part are .*: there is nothing to"):
        task(target, False, values)


def test_a_straight_line_has_nothing_to_learn_in_its_changes() -> None:
    line = 0.1 * np.arange(N)
    message = "all 41 changes of the training part are 0.1, as far as numbers of this size can tell"
    with pytest.raises(DataError, match=message):
        task("change", False, line)
    assert task("value", False, line).scaling.mean == pytest.approx(2.05)


def test_a_small_ripple_on_large_values_is_learned_from() -> None:
    values = 1e9 + np.random.default_rng(0).normal(size=N)
    assert task("value", False, values).scaling.deviation == pytest.approx(1, abs=0.3)


def test_values_beyond_computing_are_refused() -> None:
    with pytest.raises(DataError, match="the values of the training part are too large"):
        task("value", False, np.resize([-1.7e308, 1.7e308], N))


@pytest.mark.parametrize("bad", [0.0, -2.0])
def test_a_value_without_a_logarithm_is_refused_by_its_line(bad: float) -> None:
    values = growing()
    values[13] = values[57] = bad
    message = f"line 15 of x.csv, n: {bad:g} has no logarithm; the series can be forecast without"
    with pytest.raises(DataError, match=message):
        task("value", True, values)


@pytest.mark.parametrize(("target", "longest"), [("value", 40), ("change", 39)])
def test_a_window_too_long_says_which_is_not(target: Target, longest: int) -> None:
    ours = frame(series(growing()), window=longest, target=target, is_log=False)
    assert ours.inputs(ours.parts.train).shape == (2, longest)
    message = (
        f"the series has 60 values, 42 of them to train on: the longest --window is {longest}, "
        f"got {longest + 1}"
    )
    with pytest.raises(DataError, match=message):
        frame(series(growing()), window=longest + 1, target=target, is_log=False)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window must be at least 1, got 0"):
        frame(series(growing()), window=0, target="value", is_log=False)


def test_what_is_handed_out_is_nobodys_view() -> None:
    ours = task("value", False)
    before = dataclasses.replace(ours, signal=ours.signal.copy())
    ours.inputs(ours.parts.train)[:] = 0
    ours.targets(ours.parts.train)[:] = 0
    np.testing.assert_array_equal(ours.signal, before.signal)
