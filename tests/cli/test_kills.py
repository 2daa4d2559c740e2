"""kill -9 at any moment: the newest checkpoint loads, and the run ends with the bits of one alone.

Moments are spread over the whole run. Half of them are the middle of a save: the process dies as
soon as a new name shows up, or some milliseconds after; the others follow a checkpoint.
"""

import random
import time
from pathlib import Path

import pytest

from budgets import amount, torture
from carousel.cli.main import run
from carousel.models.checkpoint import load_model, read_checkpoint
from carousel.training.run_folder import RunFolder, step_name
from cli.commands import TEXT, command, ended, started, wait_until
from cli.disturbed import STEPS, last_step, outcome, temporary, train

TRIALS, KILLS = amount(1, 10), amount(4, 10)  # of each kind: 8 kills in all, or 200


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a run of each kind that nobody disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "song.txt").write_text(TEXT, encoding="utf-8")
    return folder


def left_alone(folder: Path, batching: str) -> dict[str, str]:
    """What such a run comes to; it is made once."""
    if not (folder / batching).exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("CAROUSEL_CACHE", str(folder / "cache"))
            assert run(train(batching, batching)) == 0
    return outcome(folder / batching)


def names(folder: Path) -> set[str]:
    """Of all checkpoints, finished, half-written and half-deleted ones."""
    return {path.name for path in (folder / "checkpoints").iterdir()}


def kill(
    cwd: Path, batching: str, target: int, wait: float, leftovers: set[str], *, in_a_save: bool
) -> None:
    """Let the run come to a step, kill it a moment later, and look at what is there."""
    folder = cwd / "run"
    begin = last_step(folder)
    with started(cwd, *train(batching, "run", "--resume")) as process:
        wait_until(lambda: last_step(folder) >= max(target, begin + 1), process)
        assert not temporary(folder) & leftovers, "of an earlier kill"
        if in_a_save:
            before = names(folder)
            while names(folder) <= before and process.poll() is None:
                pass
        time.sleep(wait)
        process.kill()
        result = ended(process)
    assert result.code not in (0, 1), f"the kill came too late: {result.err}"
    leftovers |= temporary(folder)
    newest = RunFolder(folder).saved_steps()[-1]
    assert begin < newest < STEPS
    checkpoint = folder / "checkpoints" / step_name(newest)
    assert "trainer.safetensors" in read_checkpoint(checkpoint)
    assert load_model(checkpoint).config["step"] == newest
    assert load_model(folder).config["step"] <= newest


@torture
@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("batching", ["lanes", "windows"])
def test_a_run_that_is_killed_ends_with_the_same_bits(
    tmp_path: Path, alone: Path, batching: str, trial: int
) -> None:
    (tmp_path / "song.txt").write_text(TEXT, encoding="utf-8")
    draw, folder = random.Random(f"{batching} {trial}"), tmp_path / "run"
    leftovers: set[str] = set()
    for number, target in enumerate(sorted(draw.sample(range(STEPS - 100), KILLS))):
        wait = draw.uniform(0, 0.01 if number % 4 == 2 else 0.05) if number % 4 else 0.0
        kill(tmp_path, batching, target, wait, leftovers, in_a_save=number % 2 == 0)
    at = RunFolder(folder).saved_steps()[-1]
    finished = command(tmp_path, *train(batching, "run", "--resume"))
    assert finished.code == 0, finished.err
    assert f"resuming run from step {at}\n" in finished.err
    assert outcome(folder) == left_alone(alone, batching)
    assert list(folder.rglob(".*")) == [], "left behind by a kill"
    assert leftovers or KILLS < 10, "no kill met a save"
