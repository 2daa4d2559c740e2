"""How long, and with what step size."""

import math

import pytest

from carousel.training.config import TrainingConfig
from carousel.training.schedule import lr_scale, steps_for


def rates(steps: int, **settings: object) -> list[float]:
    config = TrainingConfig(learning_rate=1.0, **settings)
    return [lr_scale(step, steps, config) for step in range(1, steps + 1)]


def test_linear() -> None:
    # Up by thirds, then down by eighteenths: the next step, the 21st, would be zero.
    got = rates(20, schedule="linear", warmup_steps=2)
    assert got[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert got[2:] == pytest.approx([1 - k / 18 for k in range(18)])


def test_cosine() -> None:
    got = rates(20, schedule="cosine", warmup_steps=0)
    assert got == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 20)) for k in range(20)])


def test_constant() -> None:
    assert rates(20, schedule="constant", warmup_steps=0) == [1.0] * 20
    assert rates(20, schedule="constant", warmup_steps=2)[2:] == [1.0] * 18


def test_a_short_run_warms_up_for_a_tenth_of_it() -> None:
    assert rates(20, schedule="constant", warmup_steps=1000)[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates(3, schedule="constant", warmup_steps=1000) == [1.0] * 3


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_never_zero_within_a_run_and_never_above_the_peak(schedule: str, steps: int) -> None:
    got = rates(steps, schedule=schedule, warmup_steps=50)
    assert all(0 < rate <= 1 for rate in got)
    assert max(got) == 1.0
    config = TrainingConfig(learning_rate=1.0, schedule=schedule)
    assert lr_scale(steps + 5, steps, config) >= 0


@pytest.mark.parametrize(
    ("characters", "steps"),
    [
        (1, 500),  # at least 4 M characters are read,
        (1_000_000, 977),  # eight times the text,
        (23_000_000, 20_000),  # and at most 160 M
    ],
)
def test_steps_follow_the_size_of_the_text(characters: int, steps: int) -> None:
    assert steps_for(characters, TrainingConfig(batch_size=64, sequence_length=128)) == steps
    assert steps_for(characters, TrainingConfig(batch_size=10**6, sequence_length=10**6)) == 1
