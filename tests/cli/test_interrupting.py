"""Interrupted, terminated, killed: the resumed command ends with the bits of the one left alone.

The reference is one run that nobody disturbed. The other is disturbed again and again, at random
moments, by one signal after the other; a trainer that wants into the same folder is turned away.
"""

import hashlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from cli.commands import TINY, Call, Result, caller, command, ended, started, wait_until

STEPS = 600
SIGNALS = {
    "lanes": [signal.SIGINT, signal.SIGTERM, signal.SIGKILL],
    "windows": [signal.SIGKILL],
}


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


def train(batching: str, out: str, *more: str) -> list[str]:
    schedule = ["--steps", f"{STEPS}", "--eval-every", "120", "--save-every", "25"]
    model = ["--dropout", "0.1", "--patience", "0"]
    return [
        "train",
        "song.txt",
        "--out",
        out,
        "--batching",
        batching,
        *TINY,
        *schedule,
        *model,
        *more,
    ]


def last_step(run: Path) -> int:
    try:
        return int((run / "last").read_text())
    except FileNotFoundError:
        return 0


def sha256(run: Path, pointer: str, name: str) -> str:
    checkpoint = run / "checkpoints" / (run / pointer).read_text().strip()
    return hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()


def outcome(run: Path) -> dict[str, str]:
    """What must not differ by a bit."""
    return {
        f"{pointer} {name}": sha256(run, pointer, name)
        for pointer in ("best", "last")
        for name in ("model.safetensors", "trainer.safetensors", "vocabulary.json")
    } | {"metrics": (run / "metrics.jsonl").read_text()}


def disturb(cwd: Path, call: Call, batching: str, number: signal.Signals) -> Result:
    """Let it come to its next checkpoint, wait a random moment more, and send the signal."""
    run = cwd / "disturbed"
    begin = last_step(run)
    with started(cwd, *train(batching, "disturbed", "--resume")) as process:
        wait_until(lambda: last_step(run) > begin, process)
        if begin == 0:
            os.kill(process.pid, signal.SIGSTOP)  # or it might be done before the other asks
            second = call(*train(batching, "disturbed", "--resume"))
            os.kill(process.pid, signal.SIGCONT)
            message = f"disturbed is in use by another process (pid {process.pid})\n"
            assert second == Result(1, "", f"carousel train: {message}")
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(number)
        return ended(process)


@pytest.mark.parametrize("batching", SIGNALS)
def test_a_disturbed_run_ends_with_the_same_bits(tmp_path: Path, call: Call, batching: str) -> None:
    alone = call(*train(batching, "alone"))
    at = 0
    for number in SIGNALS[batching]:
        result = disturb(tmp_path, call, batching, number)
        nothing = "warning: nothing to resume; starting at step 0\n"
        assert (f"resuming disturbed from step {at}\n" if at else nothing) in result.err
        at = last_step(tmp_path / "disturbed")
        assert 0 < at < STEPS, "the signal came too late"
        if number == signal.SIGKILL:
            assert result.code == -signal.SIGKILL
        else:
            assert result.code == 128 + number
            assert result.out == ""
            assert result.err.endswith(
                f"interrupted: step {at} is saved in disturbed; "
                "the same command with --resume goes on from there\n"
            )
    finished = command(tmp_path, *train(batching, "disturbed", "--resume"))
    assert (finished.code, alone.code) == (0, 0), finished.err + alone.err
    assert f"resuming disturbed from step {at}\n" in finished.err
    assert outcome(tmp_path / "disturbed") == outcome(tmp_path / "alone")
    assert finished.out == alone.out  # the same model writes the same text
    assert list((tmp_path / "disturbed").rglob(".*")) == [], "left behind by a kill"
