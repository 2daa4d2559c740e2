"""Locks where the file system has none: NFS without lockd, some of FUSE."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carousel import locks
from carousel.errors import RunError
from carousel.locks import Lock

NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP]


def refuse_with(number: int, patch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    patch.setattr(fcntl, "flock", flock)


@pytest.fixture(params=NO_LOCKS, ids=lambda number: errno.errorcode[number])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    refuse_with(request.param, monkeypatch)
    return request.param


HOLDER = """
import errno, fcntl, sys, time
from pathlib import Path
from carousel.locks import Lock
def flock(*_): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held_elsewhere(path: Path, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_holder_at_a_time_and_nothing_stays(no_locks: int, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with Lock(path), pytest.raises(RunError, match=rf"in use .*\(pid {os.getpid()}\)$"):
            Lock(path).__enter__()
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]
    assert path.read_text() == str(os.getpid())


def test_another_process_is_named_and_its_end_ends_the_lock(no_locks: int, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        with pytest.raises(RunError, match=rf"^runs/a is in use .*\(pid {process.pid}\)$"):
            Lock(path, name="runs/a").__enter__()
        process.kill()
        process.wait()
        with Lock(path), pytest.raises(RunError, match=f"pid {os.getpid()}"):
            Lock(path).__enter__()


def test_a_patient_lock_waits_for_its_turn(no_locks: int, tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock", seconds=0.3), Lock(tmp_path / "lock", timeout=60):
        pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EBADF])
def test_other_errors_are_errors_and_name_the_file(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_with(number, monkeypatch)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        Lock(tmp_path / "lock").__enter__()
    assert caught.value.filename == str(tmp_path / "lock")


def holder_file(path: Path, **changes: object) -> Path:
    """Leave what a process leaves that was killed while it held the lock."""
    pid = os.getpid()
    holder = locks._Holder(pid, locks._start(pid), locks._machine())._replace(**changes)
    file = path.with_name(f"{path.name}-holder")
    file.write_text(" ".join(map(str, holder)))
    return file


def test_the_number_of_an_ended_process_may_be_anothers_now(no_locks: int, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder_file(path)
    with pytest.raises(RunError):
        Lock(path).__enter__()
    holder_file(path, start=1)  # a container begun anew: same number, even our own
    with Lock(path):
        pass
    holder_file(path, pid=2**22 + 1)  # beyond all numbers
    with Lock(path):
        pass


@pytest.mark.parametrize("machine", ["elsewhere/pid:[4026531836]", ""])
def test_of_another_machine_nobody_here_can_tell(
    machine: str, no_locks: int, tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    file = holder_file(path, pid=2**22 + 1, machine=machine)
    if not machine:
        file.write_text("")  # killed before it had written
    path.write_text(str(2**22 + 1))
    host = "elsewhere" if machine else "an unknown machine"
    expected = rf"\(pid {2**22 + 1} on {host}; if it has ended, delete {file}\)$"
    with pytest.raises(RunError, match=expected):
        Lock(path, name="runs/a").__enter__()
    file.unlink()
    with Lock(path):
        pass


def test_an_endless_wait_says_what_it_waits_for(
    no_locks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    file = holder_file(tmp_path / "lock", machine="elsewhere/")
    with caplog.at_level(logging.WARNING, "carousel"), pytest.raises(RunError):
        Lock(tmp_path / "lock", timeout=0.5).__enter__()
    (line,) = caplog.messages
    assert line.startswith("waiting: ")
    assert line.endswith(f"on elsewhere; if it has ended, delete {file})")


def test_who_is_slower_to_see_an_end_leaves_the_new_holder_alone(tmp_path: Path) -> None:
    stale = locks._Holder(2**22 + 1, 5, locks._machine())
    file = holder_file(tmp_path / "lock")  # meanwhile that of another
    before = file.read_text()
    assert not locks._remove(file, stale)
    assert file.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["lock-holder"]


def test_a_full_disk_leaves_no_lock(
    no_locks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            Lock(tmp_path / "lock").__enter__()
    with Lock(tmp_path / "lock"):
        pass


def test_a_child_of_fork_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Lock(tmp_path / "lock"):
        child = os.fork()
        if child == 0:  # it has the descriptor of the lock until it ends
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    try:
        with Lock(tmp_path / "lock"):
            pass
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)
