"""A disk that is full or read-only: one clear line, exit code 1, and nothing saved is lost.

The long form does it to a real file system, a small tmpfs, which only root may mount.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from budgets import torture, torture_only
from carousel.models.checkpoint import load_model, read_checkpoint
from carousel.training.run_folder import RunFolder, step_name
from cli.commands import TEXT, Result, command, ended, environment, started, wait_until
from cli.disturbed import STEPS, last_step, outcome, temporary, train

MEGABYTES = 8  # of the small disk


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "song.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs, which is Linux's")
    path = tmp_path / "disk"
    path.mkdir()
    if (said := mount(path, "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs")) != "":
        pytest.skip(f"no file system can be mounted here: {said}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def mount(path: Path, *options: str) -> str:
    """Return what is said against it."""
    done = subprocess.run(
        ["mount", *options, str(path)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def fill(disk: Path) -> None:
    """Take what room is left, to the last byte."""
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def assert_stopped(result: Result, run: Path, reason: str) -> None:
    """It ended with one line of error, and the newest checkpoint loads."""
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    complaint = [line for line in result.err.splitlines() if line.startswith("carousel train: ")]
    assert complaint == result.err.splitlines()[-1:]
    assert reason in complaint[0]
    newest = RunFolder(run).saved_steps()[-1]
    assert f"step {newest}" in complaint[0]
    assert "trainer.safetensors" in read_checkpoint(run / "checkpoints" / step_name(newest))
    assert load_model(run).config["step"] <= newest


def assert_goes_on(cwd: Path, out: str) -> None:
    """Where there is room again it ends with the bits of a run that nothing disturbed."""
    alone = command(cwd, *train("lanes", "alone"))
    finished = command(cwd, *train("lanes", out, "--resume"))
    assert (finished.code, alone.code) == (0, 0), finished.err + alone.err
    assert outcome(cwd / out) == outcome(cwd / "alone")
    assert temporary(cwd / out) == set()


# A limit to the size of every file stands for a full disk, wherever there are such limits.

LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (28_000, 28_000));"
    "os.execv(sys.executable, [sys.executable, '-m', 'carousel', *sys.argv[1:]])"
)


def test_metrics_that_can_grow_no_further(cwd: Path) -> None:
    pytest.importorskip("resource", reason="Windows has no limits to the size of a file")
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED, *train("lanes", "run")],
        cwd=cwd,
        env=environment(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        result = ended(process)
    assert 0 < last_step(cwd / "run") < STEPS
    assert_stopped(result, cwd / "run", "File too large")
    assert_goes_on(cwd, "run")


# A real disk.


@torture
@torture_only
@pytest.mark.parametrize("at", [1, STEPS // 3, STEPS // 2])
def test_a_disk_that_fills_up_while_training(cwd: Path, disk: Path, at: int) -> None:
    with started(cwd, *train("lanes", "disk/run")) as process:
        wait_until(lambda: last_step(disk / "run") >= at, process)
        fill(disk)
        result = ended(process)
    assert_stopped(result, disk / "run", "No space left on device")
    again = command(cwd, *train("lanes", "disk/run", "--resume"))
    assert_stopped(again, disk / "run", "No space left on device")
    (disk / "filler").unlink()
    assert_goes_on(cwd, "disk/run")


@torture
@torture_only
def test_a_disk_that_is_full_from_the_start(cwd: Path, disk: Path) -> None:
    fill(disk)
    result = command(cwd, *train("lanes", "disk/run"))
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    assert "No space left on device" in result.err.splitlines()[-1]
    (disk / "filler").unlink()
    assert_goes_on(cwd, "disk/run")


@torture
@torture_only
def test_a_disk_that_has_become_read_only(cwd: Path, disk: Path) -> None:
    with started(cwd, *train("lanes", "disk/run")) as process:
        wait_until(lambda: last_step(disk / "run") > 0, process)
        process.terminate()
        assert ended(process).code == 143
    before = {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()}
    assert mount(disk, "-o", "remount,ro") == ""
    result = command(cwd, *train("lanes", "disk/run", "--resume"))
    assert (result.code, result.out) == (1, "")
    assert "Traceback" not in result.err
    assert "Read-only file system" in result.err.splitlines()[-1]
    sampled = command(cwd, "sample", "disk/run", "--prompt", "the ", "--length", "9")
    assert sampled.code == 0, sampled.err
    assert {p: p.read_bytes() for p in disk.rglob("*") if p.is_file()} == before
    assert mount(disk, "-o", "remount,rw") == ""
    assert_goes_on(cwd, "disk/run")


@torture
@torture_only
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_cache_that_cannot_be_written(cwd: Path, disk: Path, kind: str) -> None:
    (cwd / "long.txt").write_text(TEXT * 1_000, encoding="utf-8")
    prepare = ["prepare", "long.txt", "--cache-dir", "disk/cache"]
    if kind == "full":
        fill(disk)
    else:
        assert mount(disk, "-o", "remount,ro") == ""
    result = command(cwd, *prepare)
    assert (result.code, result.out) == (1, "")
    (line,) = result.err.splitlines()
    assert line.startswith("carousel prepare: ")
    assert "disk/cache" in line
    if kind == "full":
        (disk / "filler").unlink()
    else:
        assert mount(disk, "-o", "remount,rw") == ""
    done = command(cwd, *prepare)
    assert done.code == 0, done.err
    assert list(disk.rglob(".tmp*")) == []
