"""A whole run: when it validates, saves and ends, and what it does when numbers are not finite."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from carousel.errors import DivergenceError
from carousel.models.checkpoint import load_model
from carousel.models.evaluation import evaluate
from carousel.training.fit import End, Saved, Validation, fit
from carousel.training.run_folder import read_metrics
from carousel.training.trainer import StepReport, Trainer
from training.small_runs import (
    NOISY,
    VALIDATION,
    SmallRun,
    assert_same_bits,
    open_run,
    settings,
    whole_state,
)


def steps_of(events: list[Any], kind: type) -> list[int]:
    return [event.step for event in events if isinstance(event, kind)]


def test_events_of_an_uninterrupted_run(tmp_path: Path) -> None:
    events = open_run(tmp_path, settings(save_every=5)).events()
    assert steps_of(events, StepReport) == list(range(1, 25))
    assert steps_of(events, Validation) == [6, 12, 18, 24]
    best = [e.step for e in events if isinstance(e, Validation) and e.is_best]
    # Saved are multiples of save_every, each best, and the end; never a step twice.
    assert steps_of(events, Saved) == sorted({5, 10, 15, 20, 24, *best})
    assert events[-1] == End("finished", 24)
    for event in events:
        if isinstance(event, Saved):
            assert event.folder.name == f"{event.step:08d}"


def test_the_last_step_is_validated_and_saved_wherever_it_falls(tmp_path: Path) -> None:
    events = open_run(tmp_path, settings(steps=7, eval_every=5, save_every=100)).events()
    assert steps_of(events, Validation) == [5, 7]
    assert steps_of(events, Saved)[-1] == 7
    assert (tmp_path / "last").read_text() == "00000007\n"


def test_the_validation_loss_is_that_of_the_saved_model(tmp_path: Path) -> None:
    events = open_run(tmp_path, settings()).events()
    best = min(
        (event for event in events if isinstance(event, Validation)), key=lambda event: event.loss
    )
    loaded = load_model(tmp_path)
    assert loaded.config["step"] == best.step
    assert evaluate(loaded.model, VALIDATION) == best.loss


def test_everything_is_measured_once_in_metrics(tmp_path: Path) -> None:
    events = open_run(tmp_path, settings()).events()
    records = read_metrics(tmp_path)
    losses = [(e.step, e.loss) for e in events if isinstance(e, StepReport)]
    assert [(r["step"], r["loss"]) for r in records if "loss" in r] == losses
    validations = [(e.step, e.loss) for e in events if isinstance(e, Validation)]
    got = [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    assert got == validations


def test_only_best_last_and_the_one_before_are_kept(tmp_path: Path) -> None:
    run = open_run(
        tmp_path, settings(eval_every=3, save_every=1, learning_rate=0.03), validation=NOISY
    )
    for event in fit(run.trainer, run.session, run.progress):
        if isinstance(event, Saved):
            kept = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
            best = run.progress.best_step or event.step
            assert kept == {k for k in (best, event.step, event.step - 1) if k > 0}
            assert int((tmp_path / "last").read_text()) == event.step
            assert int((tmp_path / "best").read_text()) == best
    assert run.progress.best_step < 22, "the best was the last one all the time"
    run.session.folder.close()


# When it ends.


def test_it_stops_when_validation_no_longer_improves(tmp_path: Path) -> None:
    run = open_run(
        tmp_path, settings(patience=2, eval_every=2, learning_rate=0.03), validation=NOISY
    )
    events = run.events()
    validations = [event for event in events if isinstance(event, Validation)]
    assert [v.is_best for v in validations[-3:]] == [True, False, False]
    assert events[-1] == End("no longer improving", validations[-1].step)
    assert validations[-1].step < 24
    assert load_model(tmp_path).config["step"] == validations[-3].step


def test_patience_zero_never_stops(tmp_path: Path) -> None:
    run = open_run(
        tmp_path, settings(patience=0, eval_every=2, learning_rate=0.03), validation=NOISY
    )
    assert run.events()[-1] == End("finished", 24)


def test_when_time_is_up_it_validates_and_saves(tmp_path: Path) -> None:
    run = open_run(tmp_path, settings(), time_is_up=lambda trainer: trainer.step >= 9)
    events = run.events()
    assert events[-1] == End("time is up", 9)
    assert steps_of(events, Validation) == [6, 9]
    assert steps_of(events, Saved)[-1] == 9


def test_stopped_before_the_first_step_it_saves_nothing(tmp_path: Path) -> None:
    run = open_run(tmp_path, settings(), stop=lambda trainer: True)
    assert run.events() == [End("interrupted", 0)]
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_an_interruption_does_not_wait_for_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("carousel.training.fit.evaluate")
    run = open_run(tmp_path, settings(eval_every=3), stop=lambda trainer: trainer.step >= 3)
    events = run.events()
    assert [type(event) for event in events[-2:]] == [Saved, End]
    assert steps_of(events, Validation) == []


# When numbers are not finite.


def poison(run: SmallRun, step: int) -> None:
    """Let the loss of one step be NaN."""

    def hook(module: torch.nn.Module, args: object, out: Any) -> Any:
        poisoned = module.training and run.trainer.step == step - 1
        return (out[0] * math.nan, out[1]) if poisoned else out

    run.trainer.model.register_forward_hook(hook)


def test_with_muon_a_smaller_step_is_one_of_both_rules(tmp_path: Path) -> None:
    run = open_run(tmp_path / "a", settings(optimizer="muon"))
    poison(run, 2)
    with pytest.raises(
        DivergenceError, match=r"\(--learning-rate 0\.0025 --muon-learning-rate 0\.013\)"
    ):
        run.events()


@pytest.mark.parametrize("batching", ["lanes", "windows"])
@pytest.mark.parametrize("step", [2, 5, 7, 11])
def test_nan_is_found_at_its_step_and_the_state_before_it_kept(
    tmp_path: Path, batching: str, step: int
) -> None:
    given = settings(batching=batching)
    run = open_run(tmp_path / "a", given)
    poison(run, step)
    with pytest.raises(DivergenceError) as caught:
        run.events()
    run_path = re.escape(str(tmp_path / "a"))
    assert re.fullmatch(
        f"step {step}: the loss is nan and the gradient norm nan; the last good state is kept in "
        f"{run_path}: go on with --init-from {run_path} and a smaller step "
        r"\(--learning-rate 0\.0025\), or a tighter --max-grad-norm",
        str(caught.value),
    )
    other = open_run(tmp_path / "b", given, stop=lambda trainer: trainer.step == step - 1)
    other.events()
    assert_same_bits(
        whole_state(open_run(tmp_path / "a", given).trainer), whole_state(other.trainer)
    )
    assert [r["step"] for r in read_metrics(tmp_path / "a") if "loss" in r] == list(range(1, step))


def test_nan_at_the_first_step_saves_nothing_and_says_so(tmp_path: Path) -> None:
    run = open_run(tmp_path, settings())
    poison(run, 1)
    with pytest.raises(DivergenceError, match=r"step 1: .*; nothing was saved yet: try a "):
        run.events()


def test_weights_that_burst_are_not_saved_as_good(tmp_path: Path) -> None:
    """A step that makes weights infinite is met at the next one."""

    def burst(trainer: Trainer) -> bool:
        if trainer.step == 5:
            next(trainer.model.parameters()).data.fill_(math.inf)
        return False

    run = open_run(tmp_path, settings(), time_is_up=burst)
    with pytest.raises(DivergenceError, match="step 6: the loss is nan"):
        run.events()
    assert open_run(tmp_path, settings()).trainer.step == 4


def test_a_validation_that_is_not_finite_is_not_the_best(tmp_path: Path) -> None:
    run = open_run(tmp_path, settings())

    def hook(module: torch.nn.Module, args: object, out: Any) -> Any:
        return out if module.training else (out[0] * math.nan, out[1])

    run.trainer.model.register_forward_hook(hook)
    with pytest.raises(DivergenceError, match="step 6: the validation loss is nan; the last good"):
        run.events()
    assert run.progress.best_loss is None
    assert load_model(tmp_path).config["step"] == 4
