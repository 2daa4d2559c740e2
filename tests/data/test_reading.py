"""Bytes on disk to characters: exact in any encoding, in pieces of any size, and clear if not."""

import gzip
import io
import random
import re
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from budgets import amount, torture
from carousel.data import reading as module
from carousel.data.reading import BLOCK, Reading, read_text
from carousel.errors import ConfigError, TextError
from zstd_module import zstd

GZIPPED = gzip.compress(b"a", mtime=0)  # else the name of the test would change with the time
PACKED = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstd.compress}
BLOCKS = st.sampled_from([1, 2, 3, 5, 7, 64])
UNIVERSAL = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
UNIVERSAL += ["gb18030"]
PARTIAL = [
    "latin-1",
    "cp1252",
    "koi8-r",
    "shift_jis",
    "euc_kr",
    "big5",
    "iso2022_jp",
    "hz",
    "ascii",
]
PIECES = st.sampled_from(["\n", "\r", "\r\n", "\ufeff", "é", "語", "😀"]) | st.text(max_size=5)


def written(folder: str | Path, content: bytes, name: str = "a.txt") -> Path:
    path = Path(folder, name)
    path.write_bytes(content)
    return path


def lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_in(block: int, paths: list[Path], reading: Reading) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        return "".join(read_text(paths, reading))


@torture
@settings(max_examples=amount(200, 5_000))
@given(
    st.lists(PIECES, min_size=1).map("".join),
    st.sampled_from(UNIVERSAL),
    st.sampled_from([*PACKED]),
    BLOCKS,
)
def test_any_text_comes_back_from_any_encoding(
    text: str, encoding: str, ending: str, block: int
) -> None:
    # A codec with a mark of its own writes it first; elsewhere the first U+FEFF is the mark.
    has_mark = encoding in ("utf-8-sig", "utf-16", "utf-32")
    expected = lines(text if has_mark else text.removeprefix("\ufeff"))
    # U+FFFE is no character: it begins a text only where the bytes have the other order.
    assume(not (encoding in ("utf-16-le", "utf-16-be") and text.startswith("\ufffe")))
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, PACKED[ending](text.encode(encoding)), "a.txt" + ending)
        if expected:
            assert read_in(block, [path], Reading(encoding=encoding)) == expected
        else:
            with pytest.raises(TextError, match=rf"a\.txt{re.escape(ending)} is empty$"):
                read_in(block, [path], Reading(encoding=encoding))


BYTES = st.lists(
    st.sampled_from([b"a", b"\r", b"\n", b"\x1b$B", b"\x1b(B", b"~{", b"\x81", b"\xe9", b"\xff"])
    | st.sampled_from(["é", "語", "😀"]).map(str.encode)
    | st.binary(max_size=4)
).map(b"".join)


@torture
@settings(max_examples=amount(300, 8_000))
@given(
    BYTES,
    st.sampled_from([*UNIVERSAL, *PARTIAL]),
    st.sampled_from(["strict", "replace", "ignore"]),
    BLOCKS,
)
def test_any_bytes_decode_as_they_would_in_one_piece(data, encoding, errors, block) -> None:
    mark = {"utf-16": b"\xfe\xff", "utf-32": b"\xff\xfe\0\0"}.get(encoding, b"!")
    data = mark + data
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, data)
        try:
            expected = lines(data.decode(encoding, errors))
        except UnicodeDecodeError as error:
            place = f"byte 0x{data[error.start]:02x} at offset {error.start};"
            with pytest.raises(TextError, match=re.escape(place)):
                read_in(block, [path], Reading(encoding=encoding, errors=errors))
            return
        if not expected:
            with pytest.raises(TextError, match=r"is empty$"):
                read_in(block, [path], Reading(encoding=encoding, errors=errors))
            return
        assert read_in(block, [path], Reading(encoding=encoding, errors=errors)) == expected


OTHERS = (
    "--encoding NAME reads another encoding (latin-1, cp1252, …), "
    "--errors replace puts U+FFFD for what does not decode"
)


@pytest.mark.parametrize("block", [1, 2, 3, BLOCK])
@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"abcdefg\xe9h", "utf-8", f"UTF-8: byte 0xe9 at offset 7; {OTHERS}"),
        ("aé😀".encode()[:-1], "utf-8", f"UTF-8: byte 0xf0 at offset 3; {OTHERS}"),
        (b"ab\xe9", "ascii", f"ASCII: byte 0xe9 at offset 2; {OTHERS}"),
        (b"a\x81", "cp1252", f"CP1252: byte 0x81 at offset 1; {OTHERS}"),
        (b"ab\x81\x20", "shift_jis", f"SHIFT_JIS: byte 0x81 at offset 2; {OTHERS}"),
        ("añb".encode("utf-16-le") + b"\0", "utf-16-le", f"byte 0x00 at offset 6; {OTHERS}"),
        (b"\xff\xfea\0\0\xd8a\0", "utf-16", f"UTF-16: byte 0x00 at offset 4; {OTHERS}"),
        ("añ".encode("utf-16"), "utf-8", "offset 0; it looks like UTF-16: --encoding utf-16"),
        (b"\xfe\xff\0a", "utf-8", "0xfe at offset 0; it looks like UTF-16: --encoding utf-16"),
        ("añ".encode("utf-32"), "utf-8", "offset 0; it looks like UTF-32: --encoding utf-32"),
        (b"\0\0\xfe\xff\0\0\0a", "utf-8", "offset 2; it looks like UTF-32: --encoding utf-32"),
        (b"\xef\xbb\xbfa", "ascii", "0xef at offset 0; it looks like UTF-8: --encoding utf-8"),
        (GZIPPED, "utf-8", "like gzip: unpack it, or let its name end in .gz"),
        (zstd.compress(b"a"), "utf-8", "like zstd: unpack it, or let its name end in .zst"),
        (b"a\0b\0", "utf-16", "a.txt has no byte order mark: --encoding utf-16-le or utf-16-be"),
        (b"a\0\0\0", "U32", "a.txt has no byte order mark: --encoding utf-32-le or utf-32-be"),
    ],
)  # fmt: skip
def test_what_does_not_decode_is_told_with_what_would_help(
    content: bytes, encoding: str, message: str, block: int, tmp_path: Path
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(TextError, match=re.escape(message)) as caught:
        read_in(block, [path], Reading(encoding=encoding))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_in_a_compressed_file_the_offset_is_that_of_its_content(
    ending: str, tmp_path: Path
) -> None:
    path = written(tmp_path, PACKED[ending](b"a" * 100 + b"\xe9"), "a" + ending)
    message = "byte 0xe9 at offset 100 of the decompressed content; --encoding NAME"
    with pytest.raises(TextError, match=message):
        read_in(7, [path], Reading())


@pytest.mark.parametrize(("errors", "text"), [("replace", "a\ufffdb\ufffd"), ("ignore", "ab")])
def test_bytes_that_do_not_decode_are_replaced_or_left_out(
    errors: str, text: str, tmp_path: Path
) -> None:
    path = written(tmp_path, b"a\xe9b\xe9")
    assert read_in(1, [path], Reading(errors=errors)) == text


def test_a_file_of_which_nothing_is_left_is_empty(tmp_path: Path) -> None:
    for content, reading in {
        b"": Reading(),
        b"\xef\xbb\xbf": Reading(),
        b"\xff\xfe": Reading(encoding="utf-16"),
        b"\xe9\xe9": Reading(errors="ignore"),
    }.items():
        with pytest.raises(TextError, match=r"a\.txt is empty$"):
            read_in(1, [written(tmp_path, content)], reading)


@pytest.mark.parametrize(
    "name",
    [
        *("", "nosuch", "a\0b", "locale", "rot13", "hex", "base64", "zlib", "idna", "punycode"),
        *("undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "U7"),
    ],
)
def test_refuses_what_is_no_encoding_of_files(name: str) -> None:
    with pytest.raises(ConfigError, match="encoding must be one that") as caught:
        Reading(encoding=name)
    assert str(caught.value).endswith(f"got {name!r}")


@pytest.mark.parametrize("name", ["UTF8", "Latin1", "cp1252", "Shift-JIS", "utf_16", "mac-roman"])
def test_an_encoding_has_many_names(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, "ab".encode(name))
    assert read_in(1, [path], Reading(encoding=name)) == "ab"


def test_refuses_other_choices() -> None:
    with pytest.raises(
        ConfigError, match="errors must be one of 'strict', 'replace', 'ignore', got 'x'"
    ):
        Reading(errors="x")
    with pytest.raises(ConfigError, match="normalize must be one of 'none', 'nfc', got 'NFD'"):
        Reading(normalize="NFD")


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_nfc_is_that_of_the_whole_text(block: int, tmp_path: Path) -> None:
    paths = [written(tmp_path, "e\u0301\r\n\u1112\u1161\u11ab e".encode(), "1")]
    paths += [written(tmp_path, "\u0301o\u0323\u0302".encode(), "2")]
    text = read_in(block, paths, Reading(normalize="nfc"))
    assert text == "é\n한 e\n\n\u0301ộ"  # a line feed stands between the files: no mark reaches it
    plain = read_in(block, paths, Reading())
    assert plain == "e\u0301\n\u1112\u1161\u11ab e\n\n\u0301o\u0323\u0302"


def test_many_small_files_make_few_chunks(tmp_path: Path) -> None:
    paths = [written(tmp_path, b"%049d\n" % n, str(n)) for n in range(3000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 20_000)
        chunks = list(read_text(paths))
    assert "".join(chunks) == "\n".join(f"{n:049}\n" for n in range(3000))
    assert len(chunks) <= 3000 * 51 / 5000 + 1


@pytest.mark.parametrize("ending", [*PACKED])
def test_progress_adds_up_to_the_bytes_on_disk(ending: str, tmp_path: Path) -> None:
    content = "".join(random.Random(0).choices("abcdefgh \n", k=500_000)).encode()
    paths = [written(tmp_path, PACKED[ending](content), f"{n}{ending}") for n in range(3)]
    told: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 1000)
        for _ in read_text(paths, advance=told.append):
            pass
    assert sum(told) == sum(path.stat().st_size for path in paths) == module.size_in_bytes(paths)
    assert min(told) >= 0
    assert max(told) < sum(told) / 3  # also within a file, a decompressor's buffer at a time


def packed_lines(ending: str, megabytes: int) -> bytes:
    """A single line of letters that shrinks a thousandfold, made without holding it."""
    piece = b"a" * 1_000_000
    if ending == ".zst":
        packer = zstd.ZstdCompressor()
        return b"".join(packer.compress(piece) for _ in range(megabytes)) + packer.flush()
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packer:
        for _ in range(megabytes):
            packer.write(piece)
    return file.getvalue()


@torture
@pytest.mark.parametrize("normalize", ["none", "nfc"])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_memory_stays_small_whatever_the_ratio_and_the_line(
    ending: str, normalize: str, tmp_path: Path
) -> None:
    megabytes = amount(100, 2000)
    path = written(tmp_path, packed_lines(ending, megabytes), "a" + ending)
    assert path.stat().st_size < megabytes * 10_000
    tracemalloc.start()
    try:
        length = sum(map(len, read_text([path], Reading(normalize=normalize))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == megabytes * 1_000_000
    assert peak < 10e6
