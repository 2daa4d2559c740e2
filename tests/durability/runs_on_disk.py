"""A run that saves, in miniature, and what must be true of its folder after whatever happened.

The checkpoints are RunFolder's own; only their content is small: a few bytes, and which step was
the best when they were made (in a real run config.json says so).
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from budgets import amount
from carousel.models.checkpoint import read_checkpoint, resolve
from carousel.training.run_folder import RunFolder, read_metrics
from durability.disk import Disk, mounted


class Save(NamedTuple):
    """A save: its step, and the step of the best checkpoint from then on."""

    step: int
    best: int


# The first; with the best behind; the best moves and 1 is removed; 2 is removed.
SHORT = (Save(1, 1), Save(2, 1), Save(3, 3), Save(4, 3))
# In addition: the best stays for long, moves by one, and by more.
LONG = (*SHORT, Save(5, 3), Save(6, 3), Save(7, 7), Save(8, 8), Save(9, 8), Save(10, 10))

NOTHING = Save(0, 0)  # is promised before the first save has returned


def content(save: Save) -> dict[str, bytes]:
    return {
        "config.json": json.dumps({"best": save.best}).encode(),
        "weights.bin": bytes([save.step]) * 100,
        **{f"{k}.bin": bytes([k]) for k in range(amount(quick=0, full=1))},
    }


def take(folder: RunFolder, save: Save) -> None:
    """Train to a step, as far as the disk can tell, and save."""
    logged = {record["step"] for record in read_metrics(folder.path)}
    for step in range(1, save.step + 1):
        if step not in logged:
            folder.log({"step": step, "loss": 1.0 / step})
    folder.save(save.step, content(save), best=save.best)


def start(run: Path) -> tuple[RunFolder, Save]:
    """Do what a new process does with a run folder: clear up and go back to the newest."""
    folder = RunFolder(run)
    folder.prepare()
    if (newest := folder.newest()) is None:
        folder.clear()
        return folder, NOTHING
    step, found, _ = newest
    save = Save(step, json.loads(found["config.json"])["best"])
    folder.rewind(step, validated=step, best=save.best)
    return folder, save


def play(run: Path, saves: Iterable[Save]) -> Iterator[Save]:
    """Start or go on, and yield what is promised after the start and after each save."""
    folder, reached = start(run)
    try:
        yield reached
        for save in saves:
            if save.step > reached.step:
                take(folder, save)
                yield save
    finally:
        folder.close()


def check_as_found(run: Path, promised: Save, *, are_pointers_sound: bool = True) -> None:
    """Hold what a reader meets against what was promised when the last save returned."""
    newest = RunFolder(run).newest()
    reached = Save(0, 0) if newest is None else Save(newest[0], 0)
    assert reached.step >= promised.step, "a save that had returned is lost"
    if newest is not None:
        step, found, faults = newest
        assert found == content(Save(step, json.loads(found["config.json"])["best"]))
        assert not (faults and are_pointers_sound), "half a checkpoint has a public name"
        logged = [record["step"] for record in read_metrics(run)]
        assert logged[:step] == list(range(1, step + 1)), "a checkpoint knows more than the metrics"
    if promised.step and are_pointers_sound:
        for pointer, least in (("last", promised.step), ("best", promised.best)):
            checkpoint = resolve(run, pointer)
            read_checkpoint(checkpoint)
            assert int(checkpoint.name) >= least, f"{pointer} went back"


def check_after_start(run: Path, promised: Save) -> None:
    """Start a process here: it finds all that was promised, and leaves order behind."""
    with mounted(Disk()):
        folder, reached = start(run)
        folder.close()
    assert reached.step >= promised.step
    assert_in_order(run, reached)


def assert_in_order(run: Path, reached: Save) -> None:
    """No orphans, no dangling pointers, no measurement of what will be computed again."""
    saved = RunFolder(run).saved_steps()
    expected = {"carousel-run.json", "checkpoints"}
    expected |= {"best", "last", "metrics.jsonl"} if reached.step else set()
    assert {path.name for path in run.iterdir()} == expected
    assert {path.name for path in (run / "checkpoints").iterdir()} == {f"{k:08d}" for k in saved}
    if not reached.step:
        assert not saved
        return
    assert saved[-1] == reached.step
    assert resolve(run, "last").name == f"{reached.step:08d}"
    best = reached.best if reached.best in saved else reached.step
    assert resolve(run, "best").name == f"{best:08d}"
    for step in saved:
        found = read_checkpoint(run / "checkpoints" / f"{step:08d}")
        assert found["weights.bin"] == bytes([step]) * 100
    logged = [record["step"] for record in read_metrics(run)]
    assert logged == list(range(1, reached.step + 1))


def everything(folder: Path) -> dict[str, bytes]:
    """All files under a folder, by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def finish(run: Path, saves: Iterable[Save]) -> dict[str, bytes]:
    """Go on to the end, and return everything on disk."""
    with mounted(Disk()):
        for _ in play(run, saves):
            pass
    return everything(run)


def undisturbed(run: Path, saves: Iterable[Save]) -> dict[str, bytes]:
    """Return everything on disk after saves that nothing came between."""
    found = finish(run, saves)
    shutil.rmtree(run)
    return found


def damage(checkpoint: Path) -> None:
    (checkpoint / "weights.bin").write_bytes(b"damaged")
