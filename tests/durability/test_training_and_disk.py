"""Training on a disk that refuses, vanishes or is read-only; resumed, it computes the same bits."""

import errno
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from budgets import TORTURE, torture
from carousel import files
from carousel.errors import DivergenceError, StorageError
from carousel.models.checkpoint import load_model, resolve
from carousel.training.fit import Event, Saved, fit
from carousel.training.run_folder import RunFolder, read_metrics
from durability.disk import Disk, Operation, mounted
from durability.test_failing_disk import in_child, kill_at, needs_fork, refusing
from training.small_runs import SmallRun, assert_same_bits, open_run, settings, whole_state

GIVEN = settings(steps=9, eval_every=3, save_every=2)


def finish(run: Path) -> dict[str, Tensor]:
    """Open a run, fresh or where it left off, and return its state at the end."""
    opened = open_run(run, GIVEN)
    opened.events()
    return whole_state(opened.trainer)


def open_and_train(run: Path, disk: Disk) -> None:
    with mounted(disk):
        open_run(run, GIVEN).events()


def measured(run: Path) -> list[int]:
    return [record["step"] for record in read_metrics(run) if "loss" in record]


def assert_no_orphans(run: Path) -> None:
    names = {"carousel-run.json", "checkpoints", "best", "last", "metrics.jsonl"}
    assert {path.name for path in run.iterdir()} == names
    assert all(path.name.isdecimal() for path in (run / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return finish(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> int:
    open_and_train(tmp_path_factory.mktemp("all") / "run", disk := Disk())
    return disk.attempts


def numbers(operations: int) -> range:
    return range(operations) if TORTURE else range(17, operations, operations // 4)


@torture
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_training_stops_with_one_line_and_resumes_to_the_same_bits(
    error: int, operations: int, undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    for number in numbers(operations):
        run = tmp_path / str(number)
        with suppress(StorageError):  # or it goes on: an old checkpoint may stay a while
            open_and_train(run, Disk(refusing(number, error, for_good=False)))
        assert_same_bits(finish(run), undisturbed)
        assert measured(run) == list(range(1, 10))
        assert_no_orphans(run)


@torture
@needs_fork
def test_a_run_killed_at_an_operation_resumes_to_the_same_bits(
    operations: int, undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    for number in numbers(operations):
        run = tmp_path / str(number)
        status = in_child(lambda n=number, r=run: open_and_train(r, Disk(kill_at(n, half=True))))
        assert os.WIFSIGNALED(status)
        assert_same_bits(finish(run), undisturbed)
        assert measured(run) == list(range(1, 10))
        assert_no_orphans(run)


def full_from(run: Path, step: int) -> Disk:
    """A disk with no room for the checkpoint of a step."""

    def watch(operation: Operation) -> None:
        if operation.name == "mkdir" and f"tmp-{step:08d}" in str(operation.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(operation.path))

    return Disk(watch)


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    run = open_run(tmp_path, GIVEN)
    with mounted(full_from(tmp_path, 4)), pytest.raises(StorageError) as caught:
        run.events()
    assert str(caught.value) == (
        f"step 4 could not be saved in {tmp_path}: No space left on device; "
        "step 3 is safe there: make room and go on with --resume"
    )
    assert load_model(tmp_path).config["step"] == 3
    again = open_run(tmp_path, GIVEN)  # what was safe before is known after a resume, too
    with mounted(full_from(tmp_path, 4)), pytest.raises(StorageError, match="step 3 is safe there"):
        again.events()


def test_a_disk_that_is_full_from_the_start_is_explained(tmp_path: Path) -> None:
    run = open_run(tmp_path, GIVEN)
    with mounted(full_from(tmp_path, 2)), pytest.raises(StorageError) as caught:
        run.events()
    assert str(caught.value) == (
        f"step 2 could not be saved in {tmp_path}: No space left on device; "
        "nothing was saved yet: make room and start again"
    )


def test_metrics_that_cannot_be_written_are_explained(tmp_path: Path) -> None:
    def watch(operation: Operation) -> None:
        if operation.data.startswith(b'{"step": 5, '):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    run = open_run(tmp_path, GIVEN)
    with mounted(Disk(watch)), pytest.raises(StorageError) as caught:
        run.events()
    assert str(caught.value) == (
        f"the metrics of step 5 could not be written in {tmp_path}: {os.strerror(errno.EDQUOT)}; "
        "step 4 is safe there: make room and go on with --resume"
    )


def test_a_divergence_is_told_even_if_its_state_cannot_be_saved(tmp_path: Path) -> None:
    run = open_run(tmp_path, settings(steps=9, eval_every=9, save_every=9))

    def poison(module: torch.nn.Module, args: object, out: tuple[Tensor, object]) -> object:
        return (out[0] * math.nan, out[1]) if run.trainer.step == 4 else out

    run.trainer.model.register_forward_hook(poison)
    with mounted(full_from(tmp_path, 4)), pytest.raises(DivergenceError) as caught:
        run.events()
    assert re.match(r"step 5: the loss is nan .*; step 4 could not be saved", str(caught.value))


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_explained_before_training(error: int, tmp_path: Path) -> None:
    def watch(operation: Operation) -> None:
        if operation.name == "mkdir":
            raise OSError(error, os.strerror(error), str(operation.path))

    with mounted(Disk(watch)), pytest.raises(StorageError) as caught:
        open_run(tmp_path / "run", GIVEN)
    assert str(caught.value) == (
        f"no run can be kept in {tmp_path / 'run'}: {os.strerror(error)}; name another with --out"
    )


@pytest.mark.parametrize("wait", ["interrupt", "exit"])
def test_an_interruption_passes_through(wait: str, tmp_path: Path) -> None:
    kind = {"interrupt": KeyboardInterrupt, "exit": SystemExit}[wait]

    def watch(operation: Operation) -> None:
        if operation.name == "rename":
            raise kind

    run = open_run(tmp_path, GIVEN)
    with mounted(Disk(watch)), pytest.raises(kind):
        run.events()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == []


# The folder is removed while training.


def train_while(run: SmallRun, meanwhile: Callable[[Event], None]) -> None:
    """Train while something else happens between the events."""
    try:
        for event in fit(run.trainer, run.session, run.progress):
            meanwhile(event)
    finally:
        run.session.folder.close()


def test_a_removed_folder_is_made_anew(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    run = open_run(path := tmp_path / "run", GIVEN)

    def meanwhile(event: Event) -> None:
        if event.step == 5:
            shutil.rmtree(path)

    with pytest.raises(StorageError) as caught:
        train_while(run, meanwhile)
    assert str(caught.value) == (
        f"{path} was removed while training; step 6 was saved in {path}: "
        f"go on with --resume --out {path}"
    )
    assert measured(path) == list(range(1, 7)), "the metrics are lost"
    assert_same_bits(finish(path), undisturbed)
    assert_no_orphans(path)


def test_another_run_in_its_place_is_left_alone(
    undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    """Removed, and begun anew by somebody else, before the first one noticed."""
    run = open_run(path := tmp_path / "run", GIVEN)
    (tmp_path / "run-rescued").mkdir()  # that name is taken, too

    def meanwhile(event: Event) -> None:
        if event.step == 5:
            shutil.rmtree(path)
            open_run(path, GIVEN, stop=lambda trainer: trainer.step == 5).events()

    with pytest.raises(StorageError, match=r"step 6 was saved in .*run-rescued-2: "):
        train_while(run, meanwhile)
    assert resolve(path, "last").name == "00000005"
    assert measured(path) == list(range(1, 6))
    assert_same_bits(finish(tmp_path / "run-rescued-2"), undisturbed)


@pytest.mark.parametrize("part", ["checkpoints", "metrics.jsonl"])
def test_a_folder_removed_in_part_is_noticed(part: str, tmp_path: Path) -> None:
    run = open_run(path := tmp_path / "run", GIVEN)

    def meanwhile(event: Event) -> None:
        if isinstance(event, Saved) and event.step == 3:
            files.remove_folder(path / part)

    with pytest.raises(StorageError, match=r"was removed .* step 4 was saved in .*run-rescued: "):
        train_while(run, meanwhile)
    assert RunFolder(tmp_path / "run-rescued").saved_steps() == [4]
    assert measured(tmp_path / "run-rescued") == [1, 2, 3, 4]


def test_a_folder_that_cannot_be_made_anew_is_explained(tmp_path: Path) -> None:
    run = open_run(path := tmp_path / "a" / "run", GIVEN)

    def meanwhile(event: Event) -> None:
        if event.step == 5:
            shutil.rmtree(path.parent)
            path.parent.touch()

    with pytest.raises(StorageError, match=r"no run can be kept in .*/a/run: "):
        train_while(run, meanwhile)
