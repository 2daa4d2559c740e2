"""Durable files: whole or not at all, under every failure, kill and order of steps; and locks."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carousel import appender, files, locks
from carousel.errors import RunError

FILES = {"a.bin": b"first", "b.bin": b"second"}
ANY = re.compile(".*", re.DOTALL)  # whatever name was to be written
STEPS = ("fsync", "rename", "replace")  # of the os module: what makes a change durable or visible


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Recorder:
    """Stands in front of the steps: writes them down, and lets the one of this number fail."""

    def __init__(
        self, parent: Path, monkeypatch: pytest.MonkeyPatch, fails: int = -1, error: int = errno.EIO
    ) -> None:
        self.trace: list[str] = []
        self._parent = parent
        monkeypatch.delattr(files.fcntl, "F_FULLFSYNC", raising=False)  # macOS
        for step in STEPS:
            monkeypatch.setattr(os, step, self._watched(step, getattr(os, step), fails, error))

    def _watched(self, step: str, real: Callable[..., None], fails: int, error: int) -> Any:
        def watched(*arguments: Any) -> None:
            number = len(self.trace)
            self.trace.append(f"{step} {self._kind(arguments[0])}")
            if number == fails:
                raise OSError(error, os.strerror(error))
            real(*arguments)

        return watched

    def _kind(self, subject: int | Path) -> str:
        status = os.fstat(subject) if isinstance(subject, int) else subject.stat()
        if os.path.samestat(status, self._parent.stat()):
            return "parent"
        return "folder" if stat.S_ISDIR(status.st_mode) else "file"


def test_writes_and_replaces(tmp_path: Path) -> None:
    files.write_durably(tmp_path / "x", b"old")
    files.write_durably(tmp_path / "x", b"new")
    assert content(tmp_path) == {"x": b"new"}


def test_a_file_is_on_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.write_durably(tmp_path / "x", b"new")
    assert recorder.trace == ["fsync file", "replace file", "fsync parent"]


def test_a_folder_is_on_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.publish_folder(tmp_path / "x", FILES)
    assert recorder.trace == [
        *["fsync file"] * len(FILES),
        "fsync folder",
        "rename folder",
        "fsync parent",
    ]
    assert content(tmp_path / "x") == FILES


def test_a_disk_may_take_less_than_all_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    files.publish_folder(tmp_path / "x", FILES)
    files.write_durably(tmp_path / "y", b"odd")
    monkeypatch.undo()
    assert content(tmp_path / "x") == FILES
    assert (tmp_path / "y").read_bytes() == b"odd"


@pytest.mark.parametrize("fails", range(3))
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failed_step_leaves_the_old_file(
    fails: int, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_durably(tmp_path / "x", b"old")
    Recorder(tmp_path, monkeypatch, fails, error)
    with pytest.raises(OSError, match=os.strerror(error)) as caught:
        files.write_durably(tmp_path / "x", b"new")
    last = 2  # the fsync of the folder: the new name is there already
    assert content(tmp_path) == {"x": b"new" if fails == last else b"old"}
    if fails != last:
        assert caught.value.filename == str(tmp_path / "x")


@pytest.mark.parametrize("fails", range(5))
def test_a_failed_step_leaves_no_folder(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(tmp_path, monkeypatch, fails)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.publish_folder(tmp_path / "x", FILES)
    assert names(tmp_path) == (["x"] if fails == 4 else [])


def test_a_failing_writer_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with files.publishing(tmp_path / "x") as folder:
            (folder / "a").write_bytes(b"whole")
            (folder / "b").mkdir()
            (folder / "b" / "c").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


def test_what_others_wrote_is_on_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    with files.publishing(tmp_path / "x") as folder:
        for name, data in FILES.items():
            (folder / name).write_bytes(data)
    assert recorder.trace == [
        *["fsync file"] * len(FILES),
        "fsync folder",
        "rename folder",
        "fsync parent",
    ]
    assert content(tmp_path / "x") == FILES


def test_a_missing_folder_is_named_by_what_was_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.write_durably(tmp_path / "gone" / "x", b"new")
    assert caught.value.filename == str(tmp_path / "gone" / "x")


@pytest.mark.parametrize("taken", [lambda path: path.mkdir(), lambda path: path.touch()])
def test_a_taken_name_is_refused(taken: Callable[[Path], None], tmp_path: Path) -> None:
    taken(tmp_path / "x")
    with pytest.raises(FileExistsError, match=r"File exists: .*x"):
        files.publish_folder(tmp_path / "x", FILES)
    assert names(tmp_path) == ["x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from carousel import files

steps_left = int(sys.argv[2])

def deadly(real):
    def step(*arguments, **options):
        global steps_left
        steps_left -= 1
        if steps_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **options)
    return step

for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
    setattr(os, name, deadly(getattr(os, name)))
parent = Path(sys.argv[1])
files.write_durably(parent / "file", b"new")
files.publish_folder(parent / "folder", {"a": b"first", "b": b"second"})
files.remove_folder(parent / "old")
"""


def test_a_kill_at_any_step_leaves_whole_things(tmp_path: Path) -> None:
    whole = {"a": b"first", "b": b"second"}
    for steps in range(20):
        parent = tmp_path / str(steps)
        parent.mkdir()
        files.write_durably(parent / "file", b"old")
        files.publish_folder(parent / "old", {"a": b"first", "b": b"second"})
        process = subprocess.run([sys.executable, "-c", KILLED, str(parent), str(steps)])
        files.remove_leftovers(parent, ANY)
        assert (parent / "file").read_bytes() in (b"old", b"new")
        assert set(names(parent)) <= {"file", "folder", "old"}
        assert all(content(path) == whole for path in parent.iterdir() if path.is_dir())
        if process.returncode == 0:
            assert steps == 13
            assert names(parent) == ["file", "folder"]
            return
        assert process.returncode == -signal.SIGKILL
    pytest.fail("the process did not come to its end")


def test_a_folder_is_out_of_sight_for_good_before_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.publish_folder(tmp_path / "x", FILES)
    recorder = Recorder(tmp_path, monkeypatch)
    monkeypatch.setattr(files, "_delete", lambda path: recorder.trace.append(path.name[:7]))
    files.remove_folder(tmp_path / "x")
    assert recorder.trace == ["rename folder", "fsync parent", ".tmp-x-"]


def test_leftovers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / ".tmp-last-12-0123abcd").touch()
    (tmp_path / ".tmp-last-1-34-0123abcd").mkdir()
    (tmp_path / ".tmp-last-1-34-0123abcd" / "half").touch()
    (tmp_path / ".tmp-mine").touch()
    files.remove_leftovers(tmp_path, "last")
    assert names(tmp_path) == [".tmp-last-1-34-0123abcd", ".tmp-mine"]
    files.remove_leftovers(tmp_path, ANY)
    assert names(tmp_path) == [".tmp-mine"]


def test_makes_folders_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    made, again = ["fsync folder", "fsync parent", "fsync folder"], ["fsync folder"]
    assert recorder.trace == made + again


@pytest.mark.parametrize(
    ("error", "is_fatal"), [(errno.EACCES, False), (errno.EROFS, False), (errno.EIO, True)]
)
def test_a_folder_may_stand_where_we_may_not_look(
    error: int, is_fatal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(tmp_path, monkeypatch, fails=0, error=error)
    if is_fatal:
        with pytest.raises(OSError, match=os.strerror(error)):
            files.make_folder(tmp_path)
    else:
        files.make_folder(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "x")


def test_a_growing_file_is_on_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, monkeypatch)
    log = appender.Appender(tmp_path / "log")
    log.sync()
    assert names(tmp_path) == []
    for line in (b"one\n", b"two\n"):
        log.append(line)
        log.sync()
    assert recorder.trace == ["fsync file", "fsync parent", "fsync file"]
    log.close()
    log.append(b"three\n")
    assert (tmp_path / "log").read_bytes() == log.content() == b"one\ntwo\nthree\n"
    log.close()


def test_a_growing_file_knows_when_it_was_removed(tmp_path: Path) -> None:
    log = appender.Appender(tmp_path / "log")
    assert log.is_in_place()
    assert log.content() == b""
    log.append(b"one\n")
    assert log.is_in_place()
    (tmp_path / "log").unlink()
    assert not log.is_in_place()
    (tmp_path / "log").write_bytes(b"another\n")
    assert not log.is_in_place()
    assert log.content() == b"one\n"
    log.close()


@pytest.mark.parametrize(("error", "is_fatal"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_may_be_unable_to_fsync_a_folder(
    error: int, is_fatal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(tmp_path, monkeypatch, fails=2, error=error)
    if is_fatal:
        with pytest.raises(OSError, match=os.strerror(error)):
            files.write_durably(tmp_path / "x", b"new")
    else:
        files.write_durably(tmp_path / "x", b"new")


class SharingViolation(PermissionError):
    winerror = 32


@pytest.mark.parametrize("times", [3, 100])
def test_waits_for_a_reader_on_windows(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.replace, [times]

    def replace(old: Path, new: Path) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise SharingViolation(errno.EACCES, "used by another process", str(old))
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    (tmp_path / "x").write_bytes(b"old")
    if times == 3:
        files.write_durably(tmp_path / "x", b"new")
    else:
        with pytest.raises(PermissionError):
            files.write_durably(tmp_path / "x", b"new")
    assert content(tmp_path) == {"x": b"new" if times == 3 else b"old"}


class WindowsLocks:
    """What msvcrt does: a locked byte is refused with EACCES, here by way of flock."""

    LK_UNLCK, LK_NBLCK = 0, 2

    def __init__(self, fcntl: Any) -> None:
        self._fcntl = fcntl

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > 1000, "the pid would be unreadable"
        flags = {self.LK_UNLCK: "LOCK_UN", self.LK_NBLCK: "LOCK_EX"}[mode]
        try:
            self._fcntl.flock(descriptor, getattr(self._fcntl, flags) | self._fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


@pytest.fixture(params=["fcntl", "msvcrt", "neither"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param != "fcntl":
        windows = WindowsLocks(locks.fcntl) if request.param == "msvcrt" else None
        monkeypatch.setattr(locks, "fcntl", None)
        monkeypatch.setattr(files, "fcntl", None)
        monkeypatch.setattr(locks, "msvcrt", windows)
    return request.param


HOLDER = """
import sys, time
from pathlib import Path
from carousel import appender, files, locks
if sys.argv[2] == "neither":
    locks.fcntl = None
with files.Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def hold(path: Path, mechanism: str, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", HOLDER, str(path), mechanism, str(seconds)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_admits_one(mechanism: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("999999999")  # left by a process long gone
    with (
        files.Lock(path),
        pytest.raises(RunError, match=rf"lock is in use .*\(pid {os.getpid()}\)"),
    ):
        files.Lock(path).__enter__()
    with files.Lock(path):
        pass


def test_a_lock_names_its_holder_and_dies_with_it(mechanism: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, mechanism, seconds=60) as process:
        expected = rf"^runs/a is in use by another process \(pid {process.pid}\)$"
        with pytest.raises(RunError, match=expected):
            files.Lock(path, name="runs/a").__enter__()
        process.kill()
        process.wait()
        with files.Lock(path):
            assert path.read_text() == str(os.getpid())


def test_a_patient_lock_waits(mechanism: str, tmp_path: Path) -> None:
    with hold(tmp_path / "lock", mechanism, seconds=0.3), files.Lock(tmp_path / "lock", timeout=30):
        pass


def test_a_lock_that_its_holder_deleted_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before it was deleted, it would admit a second holder beside that of a new file."""
    path, flock, deleted = tmp_path / "lock", locks.fcntl.flock, []

    def delete_first(descriptor: int, operation: int) -> None:
        if not deleted:
            deleted.append(path.unlink())
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", delete_first)
    with files.Lock(path):
        assert path.read_text() == str(os.getpid())
        with pytest.raises(RunError, match="is in use"):
            files.Lock(path).__enter__()


@pytest.mark.parametrize("target", ["file", "nowhere"])
def test_a_lock_that_is_a_link_is_not_followed(target: str, mechanism: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(RunError, match="lock is a symbolic link, no lock file of Carousel"):
        files.Lock(tmp_path / "lock").__enter__()
    assert (tmp_path / "file").read_text() == "theirs"
    assert names(tmp_path) == ["file", "lock"]


def test_a_growing_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "log").symlink_to("file")
    with pytest.raises(OSError, match="it is a symbolic link, not a file"):
        appender.Appender(tmp_path / "log").append(b"ours")
    assert (tmp_path / "file").read_text() == "theirs"


def test_a_lock_in_a_folder_that_is_gone_is_no_lock_taken(mechanism: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.Lock(tmp_path / "gone" / "lock").__enter__()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/ada/.cache/carousel"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/carousel"),
        ("darwin", {}, "/home/ada/Library/Caches/carousel"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/carousel"),
        ("win32", {}, "/home/ada/AppData/Local/carousel"),
        ("linux", {"CAROUSEL_CACHE": "~/mine", "XDG_CACHE_HOME": "/caches"}, "/home/ada/mine"),
    ],
)
def test_cache_folder(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CAROUSEL_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert files.user_cache_folder() == Path(expected)
