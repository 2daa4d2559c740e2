"""A run that was stopped, anywhere and any number of times, computes the bits of one that was not.

Compared are the weights, the optimiser's state, the carried state, torch's generator, what is known
of validations, every line of metrics.jsonl, and the bytes of the best and of the last checkpoint.
"""

import random
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from carousel.models.checkpoint import read_checkpoint, resolve
from carousel.training.config import RunConfig
from carousel.training.fit import End, fit
from carousel.training.trainer import StepReport, Trainer
from training.small_runs import (
    FAMILIES,
    NOISY,
    VALIDATION,
    SmallRun,
    assert_same_bits,
    open_run,
    settings,
    whole_state,
)

TRIALS = 6  # runs with random stops, of each kind

KINDS: dict[str, tuple[RunConfig, np.ndarray]] = {
    "lanes": (settings(), VALIDATION),
    "windows": (settings(batching="windows", schedule="constant"), VALIDATION),
    "muon": (settings({"num_layers": 2}, optimizer="muon"), VALIDATION),
    "adamw": (settings({"num_layers": 1}, optimizer="adamw", schedule="cosine"), VALIDATION),
    "early stopping": (settings(patience=3, eval_every=2, learning_rate=0.03), NOISY),
}
kinds = pytest.mark.parametrize("kind", KINDS)
others = pytest.mark.parametrize("kind", FAMILIES)


def families(kind: str) -> RunConfig:
    model, training = FAMILIES[kind]
    return settings(model, **training)


Outcome = dict[str, Any]
Stop = Callable[[Trainer], bool]


def reopen(path: Path, kind: str, stop: Stop = lambda trainer: False) -> SmallRun:
    """Open the run in a process whose generator stands anywhere."""
    torch.manual_seed(random.randrange(2**32))
    given, validation = KINDS.get(kind) or (families(kind), VALIDATION)
    return open_run(path, given, stop=stop, validation=validation)


def outcome(run: SmallRun, path: Path) -> Outcome:
    """All that a run leaves behind, in memory and on disk."""
    found: Outcome = {
        "state": whole_state(run.trainer),
        "progress": asdict(run.progress),
        "metrics": (path / "metrics.jsonl").read_text(),
    }
    for pointer in ("best", "last"):
        files = read_checkpoint(resolve(path, pointer))
        found |= {f"{pointer} {name}": files[name] for name in files if name != "config.json"}
    return found


@cache
def uninterrupted(kind: str) -> Outcome:
    with TemporaryDirectory() as folder:
        run = reopen(Path(folder), kind)
        assert isinstance(run.events()[-1], End)
        return outcome(run, Path(folder))


def assert_equal(got: Outcome, want: Outcome) -> None:
    assert_same_bits(got["state"], want["state"])
    assert got.keys() == want.keys()
    for name in want.keys() - {"state"}:
        assert got[name] == want[name], f"{name} differs"


def finish(path: Path, kind: str) -> Outcome:
    run = reopen(path, kind)
    run.events()
    return outcome(run, path)


@kinds
def test_two_uninterrupted_runs_are_the_same(kind: str, tmp_path: Path) -> None:
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@kinds
@pytest.mark.parametrize("step", [1, 4, 5, 6, 8, 23, 24])
def test_stopped_at_a_step(kind: str, step: int, tmp_path: Path) -> None:
    """In the middle of an epoch, at a save, at a validation, at the last step."""
    run = reopen(tmp_path, kind, stop=lambda trainer: trainer.step >= step)
    end = run.events()[-1]
    early = kind == "early stopping"
    assert isinstance(end, End)
    assert (end.ending == "interrupted" and end.step == step) or early
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@kinds
@pytest.mark.parametrize("step", [6, 12, 24])
def test_stopped_in_the_middle_of_a_validation(kind: str, step: int, tmp_path: Path) -> None:
    asked = 0

    def stop(trainer: Trainer) -> bool:
        """First asked after the step, then in the validation that is due there."""
        nonlocal asked
        asked += trainer.step == step
        return asked >= 2

    run = reopen(tmp_path, kind, stop=stop)
    events = run.events()
    if asked:  # else early stopping came first
        assert events[-1] == End("interrupted", step)
        assert run.progress.validated < step
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@kinds
def test_stopped_at_every_step(kind: str, tmp_path: Path) -> None:
    for step in range(1, 25):
        reopen(tmp_path, kind, stop=lambda trainer, step=step: trainer.step >= step).events()
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@kinds
@pytest.mark.parametrize("trial", range(TRIALS))
def test_dropped_anywhere_without_a_word(kind: str, trial: int, tmp_path: Path) -> None:
    """As by a kill: the run simply ends between two events, saving nothing, several times."""
    draw = random.Random(trial)
    for _ in range(draw.randint(1, 4)):
        run = reopen(tmp_path, kind)
        for _ in islice(fit(run.trainer, run.session, run.progress), draw.randint(1, 30)):
            pass
        written = (tmp_path / "metrics.jsonl").read_bytes() if draw.random() < 0.5 else None
        run.session.folder.close()
        if written is not None:  # what was still buffered is lost
            (tmp_path / "metrics.jsonl").write_bytes(written)
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@others
def test_other_families_stopped_again_and_again(kind: str, tmp_path: Path) -> None:
    """Lanes carry ids, or keys and values and how many there are; all of it comes back."""
    for step in (1, 5, 6, 13, 20):
        run = reopen(tmp_path, kind, stop=lambda trainer, step=step: trainer.step >= step)
        assert run.events()[-1] == End("interrupted", step)
        assert run.trainer.state is not None
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


@others
def test_other_families_dropped_without_a_word(kind: str, tmp_path: Path) -> None:
    run = reopen(tmp_path, kind)
    for _ in islice(fit(run.trainer, run.session, run.progress), 17):
        pass
    run.session.folder.close()
    assert_equal(finish(tmp_path, kind), uninterrupted(kind))


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    first = finish(tmp_path, "lanes")
    run = reopen(tmp_path, "lanes")
    assert run.events() == [End("finished", 24)]
    assert_equal(outcome(run, tmp_path), first)


def test_more_steps_go_on_from_the_same_bits(tmp_path: Path) -> None:
    """With a constant rate the first 24 steps of 30 are those of a run of 24."""
    short = settings(schedule="constant", warmup_steps=0)
    long = settings(schedule="constant", warmup_steps=0, steps=30)
    open_run(tmp_path / "a", short).events()
    resumed = open_run(tmp_path / "a", long)
    assert resumed.trainer.step == 24
    reports = [event for event in resumed.events() if isinstance(event, StepReport)]
    assert [report.step for report in reports] == list(range(25, 31))
    whole = open_run(tmp_path / "b", long)
    whole.events()
    assert_same_bits(whole_state(resumed.trainer), whole_state(whole.trainer))
