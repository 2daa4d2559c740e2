"""A disk that refuses an operation, or a kill before it: the checkpoints before it stay good."""

import errno
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from budgets import TORTURE, torture
from carousel import files
from carousel.errors import StorageError
from carousel.training.run_folder import RunFolder
from durability.disk import Disk, Operation, Watch, mounted, scratch
from durability.runs_on_disk import (
    NOTHING,
    SHORT,
    Save,
    check_after_start,
    check_as_found,
    damage,
    everything,
    finish,
    play,
    start,
    take,
    undisturbed,
)

ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with scratch(tmp_path) as folder:
        yield folder


def refusing(number: int, error: int, *, for_good: bool) -> Watch:
    """Refuse one operation (from 0), or all from then on."""
    numbers = count()

    def watch(operation: Operation) -> None:
        k = next(numbers)
        if k == number or (for_good and k > number):
            path = operation.path and str(operation.path)
            raise OSError(error, os.strerror(error), path)

    return watch


def save_all(run: Path, disk: Disk) -> tuple[Save, StorageError | None]:
    """Save until the disk refuses; return what is promised then, and what was said."""
    returned = [NOTHING]
    with mounted(disk):
        try:
            returned.extend(play(run, SHORT))
        except StorageError as error:
            return returned[-1], error
    return returned[-1], None


def operations(run: Path) -> int:
    """Return how many operations a run takes."""
    save_all(run, disk := Disk())
    return disk.attempts


@torture
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[e] for e in ERRORS])
def test_each_operation_may_fail(error: int, for_good: bool, tmp_path: Path) -> None:
    want = undisturbed(tmp_path / "run", SHORT)
    failures = 0
    # All by one kind of error, all in the long form; else every fourth, another one each time.
    step = 1 if TORTURE or (error, for_good) == (errno.ENOSPC, False) else 4
    for number in range(ERRORS.index(error) % step, operations(tmp_path / "all"), step):
        run = tmp_path / str(number)
        promised, said = save_all(run, Disk(refusing(number, error, for_good=for_good)))
        if run.exists():
            check_as_found(run, promised)
        if said is not None:
            failures += 1
            check_words(str(said), run, promised, os.strerror(error))
        check_after_start(run, promised)
        assert finish(run, SHORT) == want
    assert failures > 15 * 4 // step


def check_words(said: str, run: Path, promised: Save, why: str) -> None:
    """One line: what failed, where, why, what is safe, what would help."""
    assert "\n" not in said
    assert f" in {run}: {why}; " in said
    if promised.step:
        assert f"step {promised.step} is safe there: " in said
        assert said.endswith(" and go on with --resume")
    else:
        assert said.endswith((" and start again", "name another with --out"))


@torture
def test_a_run_goes_on_after_a_failure(tmp_path: Path) -> None:
    """In the same process, too: a caller that does not give up gets its checkpoint."""
    want = undisturbed(tmp_path / "run", SHORT)
    with mounted(Disk()) as disk:
        before = [disk.attempts for _ in play(tmp_path / "all", SHORT)]
    for number in range(before[-2], before[-1]):
        folder = RunFolder(run := tmp_path / str(number))
        with mounted(Disk(refusing(number, errno.EIO, for_good=False))):
            start(run)
            for save in SHORT:
                try:
                    take(folder, save)
                except StorageError:
                    assert save == SHORT[-1]
                    take(folder, save)
        folder.close()
        assert everything(run).keys() >= want.keys()
        assert finish(run, SHORT) == want


@torture
def test_a_damaged_checkpoint_is_made_anew_though_going_back_failed(tmp_path: Path) -> None:
    want = undisturbed(tmp_path / "run", SHORT)
    is_over = False
    for number in count():
        finish(run := tmp_path / str(number), SHORT)
        damage(run / "checkpoints" / "00000004")
        disk, returned = Disk(refusing(number, errno.EIO, for_good=False)), [SHORT[-2]]
        with mounted(disk), suppress(StorageError):
            returned.extend(play(run, SHORT))
            check_as_found(run, returned[-1])
            is_over = number > disk.attempts
        check_after_start(run, returned[-1])
        assert finish(run, SHORT) == want
        if is_over:
            assert number > 20
            return


@torture
@pytest.mark.parametrize("most", [1, 7])
def test_a_disk_may_take_little_at_a_time(most: int, tmp_path: Path) -> None:
    want = undisturbed(tmp_path / "run", SHORT)
    save_all(tmp_path / "run", disk := Disk(most=most))
    assert max(len(operation.data) for operation in disk.trace) == most
    assert finish(tmp_path / "run", SHORT) == want


def in_child(work: Callable[[], None]) -> int:
    """Do something in a fork of this process; return how it ended, as waitpid says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads, which are idle
        pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def kill_at(number: int, half: bool) -> Watch:
    """Kill this process before an operation; of a write, after a half of it."""
    numbers = count()

    def watch(operation: Operation) -> None:
        if next(numbers) == number:
            if half and operation.name == "write":
                os.write(operation.descriptor, operation.data[: len(operation.data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


@torture
@needs_fork
def test_a_kill_may_come_before_and_after_each_operation(tmp_path: Path) -> None:
    """After one is before the next; the last case is killed by nothing."""
    want = undisturbed(tmp_path / "run", SHORT)
    for number in count():
        run, returned = tmp_path / f"{number}", tmp_path / f"{number}.txt"
        disk = Disk(kill_at(number, half=number % 2 == 0))

        def work(run: Path = run, returned: Path = returned, disk: Disk = disk) -> None:
            with mounted(disk):
                for promised in play(run, SHORT):
                    returned.write_text(f"{promised.step} {promised.best}")

        status = in_child(work)
        said = returned.read_text().split() if returned.exists() else ["0", "0"]
        promised = Save(*map(int, said))
        if run.exists():
            check_as_found(run, promised)
        check_after_start(run, promised)
        assert finish(run, SHORT) == want
        if status == 0:
            assert number == operations(tmp_path / "all")
            return
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_an_old_checkpoint_in_use_on_windows_stays_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SharingViolation(PermissionError):
        winerror = 32

    reading = True

    def watch(operation: Operation) -> None:
        if reading and operation[:2] == ("rename", tmp_path / "checkpoints" / "00000001"):
            raise SharingViolation(errno.EACCES, "used by another process")

    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    with mounted(Disk(watch)):
        for promised in play(tmp_path, SHORT):
            check_as_found(tmp_path, promised)
            saved = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
            if promised.step == 3:
                assert saved == {1, 2, 3}
                reading = False
        assert saved == {3, 4}
