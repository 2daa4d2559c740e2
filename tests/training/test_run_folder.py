"""A run on disk: what is kept, what is forgotten, and readers that race with the trainer."""

import json
import threading
from pathlib import Path

import pytest

from carousel.errors import CheckpointError
from carousel.models.checkpoint import read_checkpoint, resolve
from carousel.training.run_folder import RunFolder, read_metrics

RACES = 40


def content(step: int) -> dict[str, bytes]:
    return {"a.bin": bytes([step]) * 1000, "b.bin": bytes([step]) * 2000}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare()
    return run


def pointers(folder: RunFolder) -> tuple[int, int]:
    return tuple(int((folder.path / name).read_text()) for name in ("best", "last"))


def test_kept_are_the_best_the_last_and_the_one_before(folder: RunFolder) -> None:
    for step, best, kept in [
        (1, 1, [1]),
        (2, 1, [1, 2]),
        (3, 1, [1, 2, 3]),
        (4, 1, [1, 3, 4]),
        (5, 5, [4, 5]),
        (6, 5, [5, 6]),
        (7, 5, [5, 6, 7]),
    ]:
        folder.save(step, content(step), best=best)
        assert folder.saved_steps() == kept
        assert pointers(folder) == (best, step)


def test_a_best_that_is_gone_is_replaced_by_the_last(folder: RunFolder) -> None:
    folder.save(3, content(3), best=1)
    assert pointers(folder) == (3, 3)


def test_a_checkpoint_is_never_replaced(folder: RunFolder) -> None:
    path = folder.save(3, content(3), best=3)
    before = path.stat().st_ino
    assert folder.save(3, content(9), best=3) == path
    assert path.stat().st_ino == before
    assert read_checkpoint(path) == content(3)


def test_newest_passes_over_what_cannot_be_read(folder: RunFolder) -> None:
    assert folder.newest() is None
    for step in (1, 2, 3):
        folder.save(step, content(step), best=1)
    assert folder.newest() == (3, content(3), [])
    (folder.checkpoints / "00000003" / "a.bin").write_bytes(b"damaged")
    (folder.checkpoints / "00000002" / "b.bin").unlink()
    newest = folder.newest()
    assert newest is not None
    step, files, faults = newest
    assert (step, files) == (1, content(1))
    assert "00000003/a.bin is damaged" in faults[0]
    assert "00000002/b.bin is missing" in faults[1]
    (folder.checkpoints / "00000001" / "manifest.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint of .*run can be read: .*00000003"):
        folder.newest()


def test_rewinding_forgets_what_came_after(folder: RunFolder) -> None:
    for step in (1, 2, 3, 4):
        folder.log({"step": step, "loss": 1.0 / step})
        if step % 2 == 0:
            folder.log({"step": step, "validation_loss": 2.0})
        if step in (2, 4):
            folder.save(step, content(step), best=2)
    folder.rewind(2, validated=0, best=0)  # it was saved before the validation of its step ended
    assert read_metrics(folder.path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    assert folder.saved_steps() == [2]
    assert pointers(folder) == (2, 2)


def test_half_a_line_is_passed_over(folder: RunFolder) -> None:
    folder.log({"step": 1, "loss": 1.0})
    folder.close()
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert read_metrics(folder.path) == [{"step": 1, "loss": 1.0}]
    folder.save(1, content(1), best=1)
    folder.rewind(1, validated=0, best=1)
    folder.log({"step": 2, "loss": 0.5})
    folder.close()
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_metrics_are_on_disk_before_the_checkpoint(folder: RunFolder) -> None:
    folder.log({"step": 1, "loss": 1.0})
    folder.save(1, content(1), best=1)
    assert len(read_metrics(folder.path)) == 1  # though it is not closed
    folder.close()


def test_leftovers_of_a_kill_are_cleared_away(folder: RunFolder) -> None:
    for name in (".tmp-00000002-1-0123abcd", ".tmp-00000003-1-0123abcd"):
        (folder.checkpoints / name).mkdir()
        (folder.checkpoints / name / "a.bin").write_bytes(b"half")
    (folder.path / ".tmp-last-1-0123abcd").write_bytes(b"half")
    folder.prepare()
    assert list(folder.checkpoints.iterdir()) == []
    assert {path.name for path in folder.path.iterdir()} == {"checkpoints", "carousel-run.json"}


def test_clearing_an_earlier_run(folder: RunFolder) -> None:
    folder.log({"step": 1, "loss": 1.0})
    (folder.path / "samples").mkdir()
    (folder.path / "samples" / "00000001.txt").write_text("a")
    folder.clear()
    assert {path.name for path in folder.path.iterdir()} == {"checkpoints", "carousel-run.json"}


def test_a_reader_meets_the_old_checkpoint_or_the_new(folder: RunFolder) -> None:
    """A run publishes, points and deletes; whoever follows a pointer meets one whole checkpoint."""
    folder.save(1, content(1), best=1)
    done = threading.Event()

    def publish() -> None:
        for step in range(2, 2 + RACES):
            folder.save(step, content(step), best=step)
        done.set()

    writer = threading.Thread(target=publish)
    writer.start()
    seen = set()
    while not done.is_set():
        files = follow(folder.path)
        step = files["a.bin"][0]
        assert files == content(step)
        seen.add(step)
    writer.join()
    assert follow(folder.path) == content(1 + RACES)
    assert len(seen) > 3, "the reader hardly ran"


def follow(run: Path) -> dict[str, bytes]:
    """Read as load_model does: again, where the pointer has moved on meanwhile."""
    while True:
        checkpoint = resolve(run)
        try:
            return read_checkpoint(checkpoint)
        except CheckpointError:
            if resolve(run) == checkpoint:
                raise
