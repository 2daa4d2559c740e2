"""Which files a text is made of, and that damaged ones are never taken for sound."""

import errno
import gzip
import os
import random
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from budgets import amount, torture
from carousel.data import sources
from carousel.data.reading import read_text
from carousel.data.sources import find_files, read_blocks, size_in_bytes
from carousel.errors import TextError
from zstd_module import zstd

TEXT = ("".join(random.Random(0).choices("abcdefgh \n", k=2000))).encode()


def written(folder: Path, *names: str, content: bytes = b"a") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def found(folder: Path, *arguments: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_files([folder], *arguments)]


def test_a_folder_stands_for_the_files_in_and_below_it_in_the_order_of_their_paths(
    tmp_path: Path,
) -> None:
    names = ["B.txt", "a b.txt", "a-b/x", "a.txt", "a/b/c/d", "a/z.txt", "b.txt.gz", "z", "é", "語"]
    written(tmp_path, *names[::-1])
    assert found(tmp_path) == sorted(names) == names
    assert find_files([tmp_path]) == [tmp_path / name for name in names]


def test_hidden_and_empty_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    written(tmp_path, "a", ".b", ".git/c", "d/.e/f", "d/g")
    written(tmp_path, "empty", content=b"")
    (tmp_path / "nothing").mkdir()
    assert found(tmp_path) == ["a", "d/g"]


def test_a_folder_whose_own_name_is_hidden_is_read(tmp_path: Path, monkeypatch) -> None:
    written(tmp_path / ".hidden", "a")
    assert found(tmp_path / ".hidden") == ["a"]
    monkeypatch.chdir(tmp_path / ".hidden")
    assert find_files([Path()]) == [Path("a")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a.TXT", "a.txt", "a.txt.gz", "b.md", "below/c.txt"]),
        ("*.txt", ["a.txt", "below/c.txt"]),  # in upper case it is another name, everywhere
        ("a*", ["a.TXT", "a.txt", "a.txt.gz"]),
        ("[bc].*", ["b.md", "below/c.txt"]),
        ("b.md", ["b.md"]),
    ],
)
def test_a_pattern_chooses_by_name(pattern: str, names: list[str], tmp_path: Path) -> None:
    written(tmp_path, "a.txt", "a.TXT", "a.txt.gz", "b.md", "below/c.txt")
    assert found(tmp_path, pattern) == names


def test_files_named_by_the_user_are_taken_as_they_are(tmp_path: Path) -> None:
    written(tmp_path, ".hidden", "b", "a/x.txt", "a/y.md")
    files = [tmp_path / "b", tmp_path / ".hidden", tmp_path / "b"]
    assert find_files(files, "*.txt") == files
    assert find_files([files[0], tmp_path / "a"], "*.txt") == [files[0], tmp_path / "a" / "x.txt"]


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    written(tmp_path / "text", "a", "below/b")
    written(tmp_path / "other", "c")
    (tmp_path / "text" / "below" / "loop").symlink_to(tmp_path / "text")
    (tmp_path / "text" / "folder").symlink_to(tmp_path / "other")
    (tmp_path / "text" / "file").symlink_to(tmp_path / "other" / "c")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    assert found(tmp_path / "text") == found(tmp_path / "link") == ["a", "below/b", "file"]


def test_a_junction_of_windows_is_such_a_link(monkeypatch) -> None:
    def entry(tag: int) -> SimpleNamespace:
        return SimpleNamespace(stat=lambda follow_symlinks: SimpleNamespace(st_reparse_tag=tag))

    assert sources._is_junction(entry(0xA0000003))
    assert not sources._is_junction(entry(0))
    assert not sources._is_junction(entry(0x9000001A))  # a folder that is kept in the cloud


def test_what_is_no_text_is_told_at_once(tmp_path: Path) -> None:
    written(tmp_path, "a", "folder/only.md", "dangling/a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "dangling" / "link").symlink_to(tmp_path / "gone")
    for path, message in {
        "gone.txt": r"no such file: .*gone\.txt$",
        "a/below": "no such file: .*below$",
        "pipe": "pipe is not a regular file; save its content to one first$",
        "nothing": r"folder .*nothing has no file that fits \*\.txt and holds something$",
        "folder": r"folder .*folder has no file that fits \*\.txt and holds something$",
    }.items():
        with pytest.raises(TextError, match=message):
            find_files([tmp_path / "a", tmp_path / path], "*.txt")
    with pytest.raises(TextError, match=r"no such file: .*link is a link that leads nowhere"):
        find_files([tmp_path / "dangling"])
    with pytest.raises(TextError, match="/dev/null is not a regular file"):
        find_files([Path("/dev/null")])
    with pytest.raises(TextError, match="no text given: name at least one file"):
        find_files([])


def test_special_files_in_a_folder_are_left_out(tmp_path: Path) -> None:
    written(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == ["a"]


def test_what_cannot_be_read_names_its_file(tmp_path: Path, monkeypatch) -> None:
    written(tmp_path, "a", "b/c")

    def refuse(*arguments, **named):
        raise PermissionError(errno.EACCES, "Permission denied", str(arguments[0]))

    with monkeypatch.context() as patch:  # not by its mode: the test may run as root
        patch.setattr(sources, "open_regular", refuse)
        with pytest.raises(PermissionError) as caught:
            list(read_text([tmp_path / "a"]))
        assert caught.value.filename == str(tmp_path / "a")
    scandir = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda at: (refuse if Path(at).name == "b" else scandir)(at))
        with pytest.raises(PermissionError) as caught:
            find_files([tmp_path])
        assert Path(caught.value.filename) == tmp_path / "b"


@pytest.mark.parametrize("name", ["a", "a.gz", "a.zst"])
def test_a_disk_that_fails_while_it_is_read_names_the_file(
    name: str, tmp_path: Path, monkeypatch
) -> None:
    class Failing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

        readinto = read

    written(tmp_path, name)
    monkeypatch.setattr(sources, "open_regular", lambda path: Failing())
    with pytest.raises(OSError, match="Input/output error") as caught:
        list(read_blocks(tmp_path / name, 10, lambda count: None))
    assert caught.value.filename == str(tmp_path / name)
    assert not isinstance(caught.value, TextError)


def zstd_checked(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS = {".gz": gzip.compress, ".zst": zstd_checked}


@pytest.mark.parametrize("ending", [*PACKERS])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_members_and_frames_that_follow_one_another_are_one_text(
    ending: str, size: int, tmp_path: Path
) -> None:
    pack = PACKERS[ending]
    path = tmp_path / f"A{ending.upper()}"
    path.write_bytes(pack(TEXT[:900]) + pack(b"") + pack(TEXT[900:]))
    blocks = list(read_blocks(path, size, lambda count: None))
    assert b"".join(blocks) == TEXT
    assert max(map(len, blocks)) == min(size, len(TEXT))


@pytest.mark.parametrize("ending", [*PACKERS])
def test_a_compressed_file_cut_anywhere_is_refused(ending: str, tmp_path: Path) -> None:
    path, packed = tmp_path / f"a{ending}", PACKERS[ending](TEXT)
    for length in [
        *range(1, 40),
        *range(40, len(packed), 37),
        *range(len(packed) - 20, len(packed)),
    ]:
        path.write_bytes(packed[:length])
        with pytest.raises(TextError, match=rf"a\{ending} cannot be read as (gzip|zstd): "):
            "".join(read_text([path]))


@torture
@pytest.mark.parametrize("ending", [*PACKERS])
def test_a_damaged_compressed_file_never_gives_another_text(ending: str, tmp_path: Path) -> None:
    path, packed = tmp_path / f"a{ending}", PACKERS[ending](TEXT)
    draws, refusals = random.Random(1), list[str]()
    trials = amount(300, 8_000)
    for _ in range(trials):
        damaged = bytearray(packed)
        damaged[draws.randrange(len(packed))] ^= 1 << draws.randrange(8)
        path.write_bytes(damaged)
        try:
            text = "".join(read_text([path]))
        except TextError as error:
            refusals.append(str(error))
        else:
            assert text.encode() == TEXT  # a date or a name in its header
    assert len(refusals) > 0.9 * trials
    assert all(refusal.startswith(str(path)) for refusal in refusals)


@pytest.mark.parametrize("ending", [*PACKERS])
def test_what_only_its_name_calls_compressed_is_refused(ending: str, tmp_path: Path) -> None:
    written(tmp_path, f"a{ending}", content=b"Once upon a time")
    with pytest.raises(TextError, match=rf"a\{ending} cannot be read as (gzip|zstd): "):
        list(read_text([tmp_path / f"a{ending}"]))
    written(tmp_path, f"a{ending}", content=PACKERS[ending](TEXT) + b"rubbish")
    with pytest.raises(TextError, match=rf"a\{ending} cannot be read as (gzip|zstd): "):
        list(read_text([tmp_path / f"a{ending}"]))


@torture
def test_a_hundred_thousand_small_files_are_read_in_seconds(tmp_path: Path) -> None:
    count = amount(2_000, 100_000)
    for n in range(count):
        if n % 1000 == 0:
            folder = tmp_path / f"{n // 1000:03}"
            folder.mkdir()
        (folder / f"{n:06}.txt").write_bytes(b"%049d\n" % n)
    begin = time.process_time()
    files = find_files([tmp_path])
    assert size_in_bytes(files) == 50 * count
    chunks = list(read_text(files))
    seconds = time.process_time() - begin
    assert "".join(chunks) == "\n".join(f"{n:049}\n" for n in range(count))
    assert len(chunks) <= 51 * count / 250_000 + 1
    assert seconds < count * 3e-4 + 1  # measured: 3e-5 a file on an idle machine


MEMBER = gzip.compress(b"once")
HEADER = b"\x1f\x8b\x08%c\0\0\0\0\0\xff"  # flags in the fourth byte
WITHOUT_CONTENT = {
    "zeros between members": MEMBER + bytes(30 << 20) + MEMBER,
    "zeros at the end": MEMBER + bytes(30 << 20),
    "a name": HEADER % 8 + b"n" * (30 << 20) + b"\0" + MEMBER[10:],
    "a comment": HEADER % 16 + b"n" * (30 << 20) + b"\0" + MEMBER[10:],
    "empty members": gzip.compress(b"") * 100_000 + MEMBER,
    "empty blocks": HEADER % 0 + b"\0\0\0\xff\xff" * 500_000 + MEMBER[10:],
}


@pytest.mark.parametrize("kind", WITHOUT_CONTENT)
def test_a_gzip_file_may_have_no_mib_without_content(tmp_path: Path, kind: str) -> None:
    path, read = tmp_path / "a.txt.gz", list[int]()
    path.write_bytes(WITHOUT_CONTENT[kind])
    with pytest.raises(TextError, match=r"cannot be read as gzip: .*without content"):
        list(read_blocks(path, 1 << 20, read.append))
    before = time.process_time()
    with pytest.raises(TextError):
        list(read_blocks(path, 1 << 20, read.append))
    assert time.process_time() - before < 5


@pytest.mark.parametrize("padding", [0, 1, 512, 10_240])
def test_zeros_behind_a_member_and_many_small_members_are_read(
    tmp_path: Path, padding: int
) -> None:
    (tmp_path / "a.gz").write_bytes((MEMBER + bytes(padding)) * 200)
    blocks = list(read_blocks(tmp_path / "a.gz", 300, lambda count: None))
    assert b"".join(blocks) == b"once" * 200
    assert max(map(len, blocks)) <= 300
