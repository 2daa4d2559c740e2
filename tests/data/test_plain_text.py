"""Files that decode and are no text in that encoding are refused, with what would read them."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from carousel.data import reading as module
from carousel.data.plain_text import decode_utf8
from carousel.data.reading import BLOCK, Reading, read_text
from carousel.errors import TextError
from carousel.file_signatures import WINDOW, is_binary, wide_encoding

TEXTS = {
    "English": "The owl sang to the moon, and the moon sang back.\r\n",
    "quotes": "“No,” said the owl — and slept…\n",
    "French": "Le hibou à côté du rêve était là, déjà.\n",
    "Russian": "Сова пела луне, и луна пела в ответ.\n",
    "Arabic": "غنت البومة للقمر وغنى القمر لها.\n",
    "Hebrew": "הינשוף שר לירח.\n",
    "Hindi": "उल्लू ने चाँद के लिए गाया।\n",
    "Thai": "นกฮูกร้องเพลงให้ดวงจันทร์ ฟัง\n",
    "Greek": "Η κουκουβάγια τραγούδησε στο φεγγάρι.\n",
    "Japanese": "ふくろうは月に歌った。\n",
    "Chinese": "猫头鹰对着月亮唱歌，月亮也唱了回来。\n",
    "Korean": "올빼미가 달에게 노래했다.\n",
    "emoji": "the owl 🦉 and the moon 🌙\n",
}
WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


def written(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, encoding: str = "utf-8", errors: str = "strict", block: int = BLOCK) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        return "".join(read_text([path], Reading(encoding=encoding, errors=errors)))  # type: ignore[arg-type]


def refusal(path: Path, encoding: str = "utf-8", errors: str = "strict", block: int = BLOCK) -> str:
    with pytest.raises(TextError) as caught:
        read(path, encoding, errors, block)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("block", [7, BLOCK])
def test_wide_characters_without_a_mark_are_refused_with_their_name(
    tmp_path: Path, language: str, wide: str, block: int
) -> None:
    text = TEXTS[language] * 40
    path = written(tmp_path, text.encode(wide))
    message = refusal(path, block=block)
    assert f"--encoding {wide}" in message, message
    assert "looks like UTF-" in message
    assert read(path, wide) == text.replace("\r\n", "\n")


@pytest.mark.parametrize("encoding", ["latin-1", "koi8-r", "mac-roman"])
@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize("language", ["English", "quotes", "French", "Russian"])
def test_single_byte_encodings_decode_no_wide_characters(
    tmp_path: Path, language: str, wide: str, encoding: str
) -> None:
    path = written(tmp_path, (TEXTS[language] * 40).encode(wide))
    assert f"--encoding {wide} reads it" in refusal(path, encoding)


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_wide_characters_are_refused_whatever_is_done_with_errors(
    tmp_path: Path, errors: str
) -> None:
    path = written(tmp_path, (TEXTS["English"] * 40).encode("utf-16-le"))
    assert "--encoding utf-16-le" in refusal(path, errors=errors)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_compressed_texts_are_judged_by_their_content(tmp_path: Path, ending: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}[ending]
    path = written(tmp_path, pack((TEXTS["English"] * 40).encode("utf-16-be")), "a.txt" + ending)
    assert refusal(path).endswith("--encoding utf-16-be reads it")


def test_the_message_is_one_line_that_a_user_understands(tmp_path: Path) -> None:
    path = written(tmp_path, (TEXTS["English"] * 40).encode("utf-16-le"))
    assert refusal(path) == (
        " looks like UTF-16 without a byte order mark (half of its characters or more would be "
        "control characters such as U+0000): --encoding utf-16-le reads it"
    )


@pytest.mark.parametrize("block", [7, 5000, BLOCK])
def test_utf16_appended_to_utf8_is_refused_by_its_place(tmp_path: Path, block: int) -> None:
    begin = "plain ascii text\n" * 1000
    data = begin.encode() + ("more of it\n" * 2000).encode("utf-16-le")
    message = refusal(written(tmp_path, data), block=block)
    place = int(re.search(r"from character ([\d,]+) on", message)[1].replace(",", ""))  # type: ignore[index]
    assert abs(place - len(begin)) <= WINDOW
    assert message.endswith("it mixes encodings; convert it to one")


@pytest.mark.parametrize(
    ("data", "encoding", "remedy"),
    [
        ((TEXTS["English"] * 40).encode("utf-16-be"), "utf-16-le", "--encoding utf-16-be reads it"),
        ((TEXTS["English"] * 40).encode("utf-16-le"), "utf-16-be", "--encoding utf-16-le reads it"),
        ("\ufeffa b c".encode("utf-16-be"), "utf-16-le", "--encoding utf-16 reads it"),
        ((TEXTS["English"] * 40).encode("utf-32-le"), "utf-16-le", "--encoding utf-32-le reads it"),
        ((TEXTS["English"] * 40).encode("utf-32-be"), "utf-16-be", "--encoding utf-32-be reads it"),
        ("\ufeffété".encode(), "latin-1", "of UTF-8: --encoding utf-8 reads it"),
        ("\ufeffété".encode(), "cp1252", "of UTF-8: --encoding utf-8 reads it"),
        ("été".encode("utf-16"), "latin-1", "of UTF-16: --encoding utf-16 reads it"),
        ("été".encode("utf-32"), "koi8-r", "of UTF-32: --encoding utf-32 reads it"),
    ],
)
def test_the_wrong_encoding_is_refused_where_it_shows(
    tmp_path: Path, data: bytes, encoding: str, remedy: str
) -> None:
    assert refusal(written(tmp_path, data), encoding).endswith(remedy)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_with_their_name_wide_characters_are_read(tmp_path: Path, encoding: str) -> None:
    text = "".join(TEXTS.values()).replace("\r\n", "\n") * 30
    assert read(written(tmp_path, text.encode(encoding)), encoding) == text


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    content = b"a text in an archive\n" * 200
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("a.txt", content)
    else:
        with tarfile.open(fileobj=file, mode="w") as packed_tar:
            about = tarfile.TarInfo("a.txt")
            about.size = len(content)
            packed_tar.addfile(about, io.BytesIO(content))
    return file.getvalue()


FORMATS = {
    "zip": (archive("zip"), "a zip archive, as .docx, .xlsx, .odt and .epub files are"),
    "tar": (archive("tar"), "a tar archive"),
    "pdf": (b"%PDF-1.4\n1 0 obj\n" + b"text " * 200, "a PDF document"),
    "rtf": (rb"{\rtf1\ansi Once upon a time.}", "a rich text document (RTF)"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an Office document (.doc, .xls)"),
    "gzip": (gzip.compress(b"a" * 600, mtime=0), "gzip"),
    "zstd": (zstd.compress(b"a" * 600), "zstd"),
    "bzip2": (bz2.compress(b"a" * 600), "bzip2"),
    "xz": (lzma.compress(b"a" * 600), "xz"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 600, "an image (PNG)"),
    "sqlite": (b"SQLite format 3\0" + b"\0" * 600, "an SQLite database"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("block", [5, BLOCK])
def test_other_formats_are_refused_by_their_name(
    tmp_path: Path, kind: str, encoding: str, block: int
) -> None:
    data, name = FORMATS[kind]
    message = refusal(written(tmp_path, data), encoding, block=block)
    assert message.startswith(f" looks like {name}: ")


def test_an_archive_inside_of_a_compressed_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(archive("tar")), "a.tar.gz")
    assert refusal(path) == " looks like a tar archive: unpack it first"


def test_a_file_of_control_characters_is_refused_by_its_place(tmp_path: Path) -> None:
    text = "an honest line of text\n" * 400
    path = written(tmp_path, text.encode() + b"\0" * 10_000)
    message = refusal(path)
    assert message.startswith(" is no plain text: more than a tenth of its characters from ")
    assert "\n" not in message
    samples = bytes(k % 7 for k in range(2000))
    assert " is no plain text: " in refusal(written(tmp_path, samples))


@pytest.mark.parametrize(
    "text",
    [
        "a stray \0 in a text\n" + "and more of it\n" * 400,
        "".join(f"folder/of/some/files/{k:03}.txt\0" for k in range(400)),
        "\0",
        "a\0b\0",
        "\x1b[31mred\x1b[0m and plain\n" * 300 + "\0",
        "x" * 8191 + "\0",
    ],
    ids=["one", "find -print0", "alone", "two", "colours", "the last"],
)
@pytest.mark.parametrize("block", [3, BLOCK])
def test_a_text_with_a_few_of_them_is_read_as_it_is(tmp_path: Path, text: str, block: int) -> None:
    assert read(written(tmp_path, text.encode()), block=block) == text


def test_a_latin1_text_is_refused_with_its_byte_and_what_would_read_it(tmp_path: Path) -> None:
    path = written(tmp_path, ("Le hibou à côté\n" * 40).encode("latin-1"))
    assert refusal(path) == (
        " is not UTF-8: byte 0xe0 at offset 9; --encoding NAME reads another encoding (latin-1, "
        "cp1252, …), --errors replace puts U+FFFD for what does not decode"
    )


def test_units_are_judged_by_where_the_zeros_stand() -> None:
    assert wide_encoding("Once upon a time".encode("utf-16-le")) == "utf-16-le"
    assert wide_encoding("Once upon a time".encode("utf-32-be")) == "utf-32-be"
    assert wide_encoding("Hi".encode("utf-16-le")) is None
    assert wide_encoding(b"\0" * 100) is None
    assert wide_encoding(b"Once upon a time") is None
    # Line ends and one U+0000 at every second place are no alphabet of India.
    assert wide_encoding(b"0\x00000\n0\x1f000\n\n\n\n\n") is None
    assert wide_encoding(b"0\0" + b"\n" * 100) is None
    assert wide_encoding(b"0\0" + b"0\n" * 10) is None
    for words in ("एक समय की बात है, ", "ஒரு காலத்தில் ", "ఒకప్పుడు ఒక ", "ഒരിക്കൽ ഒരു ", "ਇੱਕ ਵਾਰ "):
        for name in ("utf-16-le", "utf-16-be"):
            assert wide_encoding((words * 8).encode(name)) == name
            assert wide_encoding((words * 8).encode()) is None
    assert not is_binary(b"\0" * 100)
    assert is_binary(b"\0" * 512)
    assert not is_binary(b"a" * 512 + b"\0" * 56)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Once upon a time".encode("utf-16-le"),
         "p.txt looks like UTF-16 without a byte order mark: save it as UTF-8"),
        ("Once upon a time".encode("utf-16"),
         "p.txt is not UTF-8: byte 0xff at offset 0; it looks like UTF-16: save it as UTF-8"),
        ("猫头鹰对着月亮唱歌，".encode("utf-16-le"),
         "p.txt is not UTF-8: byte 0x9e at offset 5; it looks like UTF-16: save it as UTF-8"),
        (gzip.compress(b"a", mtime=0), "p.txt looks like gzip: unpack it first"),
        (FORMATS["zip"][0], "p.txt looks like a zip archive, as .docx, .xlsx, .odt and .epub "
         "files are: save it as plain text first"),
        (b"ab\xe9", "p.txt is not UTF-8: byte 0xe9 at offset 2"),
    ],
)  # fmt: skip
def test_a_prompt_file_goes_through_the_same_checks(data: bytes, message: str) -> None:
    with pytest.raises(TextError) as caught:
        decode_utf8(data, "p.txt")
    assert str(caught.value) == message
