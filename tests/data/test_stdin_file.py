"""What comes through a pipe stands in a hidden file as long as it is needed, and no longer."""

import errno
import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.data import cache as cache_module
from carousel.data.stdin_file import spooled
from carousel.errors import StorageError, TextError


def hidden(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name.startswith(".")]


def test_the_file_holds_the_stream_and_goes_with_the_block(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    with spooled(io.BytesIO(content), tmp_path / "deep" / "cache") as path:
        assert path.read_bytes() == content
        assert hidden(tmp_path / "deep" / "cache") == [path]
    assert hidden(tmp_path / "deep" / "cache") == []


def test_it_goes_on_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), spooled(io.BytesIO(b"text"), tmp_path):
        raise KeyboardInterrupt
    assert hidden(tmp_path) == []


def test_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"^stdin is empty$"), spooled(io.BytesIO(), tmp_path):
        pass
    assert hidden(tmp_path) == []


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    message = rf"^stdin cannot be kept in {tmp_path} while it is read \(No space left on device\): "
    with pytest.raises(StorageError, match=message), spooled(Full(), tmp_path):
        pass
    assert hidden(tmp_path) == []


def test_a_stdin_without_end_leaves_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ids take as much again: what does not fit twice is not read on."""

    class Endless(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += 1
            return b"y\n" * ((size or 0) // 2)

    disk = SimpleNamespace(free=5 << 20)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: disk)
    stream = Endless()
    with pytest.raises(StorageError, match="make room"), spooled(stream, tmp_path):
        pass
    assert stream.count == 6
    assert hidden(tmp_path) == []


def test_two_at_a_time_do_not_meet_and_what_a_killed_one_left_is_deleted(tmp_path: Path) -> None:
    program = (
        "import io, os, signal, sys\n"
        "from pathlib import Path\n"
        "from carousel.data.stdin_file import spooled\n"
        "with spooled(io.BytesIO(b'text'), Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with spooled(io.BytesIO(b"first"), tmp_path) as first:
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert len(hidden(tmp_path)) == 2
        with spooled(io.BytesIO(b"second"), tmp_path) as second:
            assert first.read_bytes() == b"first"
            assert second.read_bytes() == b"second"
            assert sorted(hidden(tmp_path)) == sorted([first, second])
    assert hidden(tmp_path) == []
