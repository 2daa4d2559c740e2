"""A run whose checkpoint or metrics somebody changed: one line, and nothing is overwritten."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carousel.errors import CheckpointError
from carousel.training.run_folder import read_metrics
from models.checkpoints import rewrite
from training.small_runs import open_run, settings

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 24 steps, stopped at step 14."""
    open_run(tmp_path / "run", settings(), stop=lambda trainer: trainer.step == 14).events()
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(run: Path) -> str:
    """Resume the run, which must fail and change nothing; return the message, one short line."""
    before = files(run)
    with pytest.raises(CheckpointError) as caught:
        open_run(run, settings())
    assert files(run) == before
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < len(str(run)) + 500
    return message


CHANGES: dict[str, tuple[Change, str]] = {
    "no threads at all": (lambda c: c.update(threads=0), "threads must be from 1 to 4096, got 0"),
    "a million threads": (lambda c: c.update(threads=10**6), "threads must be from 1 to 4096"),
    "threads is a text": (lambda c: c.update(threads="2"), "threads must be a whole number"),
    "threads is true": (lambda c: c.update(threads=True), "threads must be a whole number"),
    "threads is a fraction": (lambda c: c.update(threads=1.5), "threads must be a whole number"),
    "no text": (lambda c: c.pop("corpus"), "corpus is missing"),
    "the text is a list": (lambda c: c.update(corpus=[]), "corpus must be a table"),
    "no hash": (lambda c: c["corpus"].pop("sha256"), "corpus.sha256 is missing"),
    "hash of another kind": (
        lambda c: c["corpus"].update(sha256="../../etc"),
        "corpus.sha256 must be 64 hexadecimal digits",
    ),
    "name is a path of megabytes": (lambda c: c["corpus"].update(name=["x" * 10**6]), "a text"),
    "parts are of no text": (lambda c: c["corpus"].update(split_sha256=7), "corpus.split_sha256"),
    "no settings": (lambda c: c.pop("settings"), "settings is missing"),
    "settings are a list": (lambda c: c.update(settings=[1]), "settings must be a table"),
    "a table of settings is a text": (
        lambda c: c["settings"].update(data="index"),
        "settings.data must be a table",
    ),
    "an index that is no path": (
        lambda c: c["settings"]["data"].update(index=7),
        "index in [data] of config.json must be",
    ),
    "steps without end": (lambda c: c["training"].update(steps=10**30), "training.steps must be"),
    "no steps": (lambda c: c["training"].update(steps=None), "training.steps must be"),
    "no progress": (lambda c: c.pop("progress"), "progress is missing"),
    "validated in the future": (lambda c: c["progress"].update(validated=99), "validated must be"),
    "best before the first": (lambda c: c["progress"].update(best_step=-1), "best_step must be"),
    "best that is no number": (
        lambda c: c["progress"].update(best_loss=float("nan")),
        "best_loss must be a finite number",
    ),
    "best below every loss": (
        lambda c: c["progress"].update(best_loss=-1e308),
        "progress.best_loss must be finite and not negative",
    ),
    "best that was not measured": (
        lambda c: c["progress"].update(best_loss=0.125),
        "progress.best_loss is 0.125, and metrics.jsonl has",
    ),
    "step of another checkpoint": (lambda c: c.update(step=10**30), "step must be 14, got 1000"),
    "step before the first": (lambda c: c.update(step=-5), "step must be 14, got -5"),
    "characters without end": (
        lambda c: c["corpus"].update(characters=10**40, parts={}),
        "corpus.characters must be",
    ),
    "a part below nothing": (
        lambda c: c["corpus"].update(characters=9, parts={"train": -1}),
        "corpus.parts.train must be from 0 to 9, got -1",
    ),
    "loss is beyond all floats": (
        lambda c: c["progress"].update(loss=2**1024 - 1),
        "got a number of hundreds of digits",
    ),
    "loss is a text": (lambda c: c["progress"].update(loss="low"), "loss must be"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_tampered_config_is_refused(run: Path, kind: str) -> None:
    change, message = CHANGES[kind]
    checkpoint = run / "checkpoints" / "00000014"
    config = json.loads((checkpoint / "config.json").read_bytes())
    change(config)
    rewrite(checkpoint, "config.json", json.dumps(config).encode())
    said = refused(run)
    assert message in said
    assert "00000014/config.json is not as it was written" in said


@pytest.mark.parametrize("step", [12, 99, 10**30])
def test_a_step_of_another_checkpoint_is_refused(run: Path, step: int) -> None:
    rewrite(run / "checkpoints" / "00000014", "trainer.json", b'{"step": %d}' % step)
    refused(run)


LINES = {
    "no JSON": b"of the user's\n",
    "no record": b"[]\n",
    "no step": b'{"loss": 1.0}\n',
    "a step that is no number": b'{"step": true, "loss": 1.0}\n',
    "a step beyond all": b'{"step": %d, "loss": 1.0}\n' % 10**300,
    "a loss beyond all floats": b'{"step": 2, "loss": %d}\n' % 10**400,
    "a loss of more digits than Python reads": b'{"step": 2, "loss": ' + b"9" * 5000 + b"}\n",
    "a step before the first": b'{"step": -1, "loss": 1.0}\n',
    "a loss that is a text": b'{"step": 2, "loss": "low"}\n',
    "a loss that is no number": b'{"step": 2, "loss": NaN}\n',
    "brackets without end": b"[" * 50_000 + b"\n",
    "a line without end": b"x" * 200_000 + b"\n",
    "bytes": b"\xff\xfe\x00\n",
}


@pytest.mark.parametrize("kind", LINES)
def test_a_tampered_line_of_the_metrics_is_refused_by_its_number(run: Path, kind: str) -> None:
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join([*lines[:3], LINES[kind], *lines[3:]]))
    assert "line 4 of " in (said := refused(run))
    assert "metrics.jsonl is not as it was written" in said


@pytest.mark.parametrize("kind", LINES)
def test_what_a_kill_left_at_the_end_is_passed_over(run: Path, kind: str) -> None:
    whole = read_metrics(run)
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(LINES[kind])
    assert read_metrics(run) == whole
    assert open_run(run, settings()).trainer.step == 14


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_in_the_place_of_a_pointer_or_of_the_metrics_does_not_wait(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    with pytest.raises(OSError, match="is a pipe, not a regular file"):
        read_metrics(run)
