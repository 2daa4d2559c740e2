"""Files of other people: pipes and devices in the place of files, and more than anything has."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from carousel.errors import UnreadableError, shorten
from carousel.input_files import open_regular, read_input, read_regular, read_stream

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def fed(path: Path, *blocks: bytes) -> threading.Thread:
    """Write into a pipe from another thread; who reads no further ends it."""

    def write() -> None:
        try:
            with path.open("wb", buffering=0) as pipe:
                for block in blocks:
                    pipe.write(block)
        except BrokenPipeError:
            pass

    os.mkfifo(path)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_a_regular_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1024)
    for read in (read_regular, read_input):
        assert read(tmp_path / "a", 1024) == b"x" * 1024
        with pytest.raises(UnreadableError, match=r"/a is larger than 1023 bytes"):
            read(tmp_path / "a", 1023)


@posix
@pytest.mark.parametrize("read", [lambda path: read_regular(path, 10), open_regular])
@pytest.mark.parametrize("kind", ["pipe", "zero", "link to zero", "folder", "link to a pipe"])
def test_only_regular_files_belong_to_a_checkpoint(
    read: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if kind == "zero":
        path = Path("/dev/zero")
    elif kind == "link to zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    with pytest.raises(UnreadableError, match=r"is a (pipe|device|folder), not a regular file"):
        read(path)


@posix
def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link", 10) == b"content"


@posix
def test_a_pipe_is_read_to_its_end_and_no_further_than_its_bound(tmp_path: Path) -> None:
    fed(tmp_path / "short", b"one, ", b"two")
    assert read_input(tmp_path / "short", 100) == b"one, two"
    writer = fed(tmp_path / "endless", *[b"y\n" * 1000] * 10_000)
    with pytest.raises(UnreadableError, match=r"endless is larger than 4 KiB"):
        read_input(tmp_path / "endless", 4096)
    writer.join(10)
    assert not writer.is_alive()


@posix
def test_devices_are_refused_and_dev_null_is_empty(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (Path("/dev/zero"), tmp_path / "link"):
        with pytest.raises(UnreadableError, match="is a device: name a file or a pipe"):
            read_input(path, 100)
    with pytest.raises(UnreadableError, match="is a folder: name a file or a pipe"):
        read_input(tmp_path, 100)
    assert read_input(Path("/dev/null"), 100) == b""


@posix
def test_a_terminal_is_read() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    try:
        os.write(master, b"typed\n\x04")
        assert read_input(Path(os.ttyname(slave)), 100) == b"typed\n"
    finally:
        os.close(master)
        os.close(slave)


@posix
def test_stdin_that_never_ends_is_read_up_to_its_bound() -> None:
    with Path("/dev/zero").open("rb") as stream, pytest.raises(UnreadableError, match="stdin is"):
        read_stream(stream, 4096, "stdin")


def test_what_a_message_quotes_is_cut() -> None:
    assert shorten("x" * 300) == "x" * 300
    assert shorten("x" * 301) == "x" * 300 + "… (301 characters)"
