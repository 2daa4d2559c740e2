"""Recognise files by their bytes: byte order marks, UTF-16 and UTF-32 without one, other formats.

Standard library only, so that both texts and tables of numbers can be checked the same way.
"""

import codecs
from typing import NamedTuple

HEAD = 512  # bytes that show the format of a file
WINDOW = 4096  # characters that are judged together

# The longer of two marks that begin alike comes first.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)

_WHITE_SPACE = bytes(range(0x09, 0x0E))
_ESCAPE = b"\x1b"  # begins the colours of a terminal's log
_BELOW_SPACE = bytes(range(0x20))
_CONTROLS = bytes({*range(0x20), *range(0x7F, 0xA0)} - {*_WHITE_SPACE, *_ESCAPE, 0x85})

_LEAST_PAIRS = 8  # characters below which no pattern is certain
_LEAST_BLOCK = 32  # of an alphabet whose high byte is white space in another encoding
_LEAST_BINARY = 512
_ONE_PACE = (
    0.99  # of the NULs that stand at every second place, where they are halves of characters
)


class Format(NamedTuple):
    """A kind of file that is no plain text.

    Attributes:
        start: Its first bytes.
        name: With its article.
        remedy: What turns it into plain text.
        ending: Of the names of files that are decompressed; empty for all others.
    """

    start: bytes
    name: str
    remedy: str
    ending: str = ""


_SAVE = "save it as plain text first"
_UNPACK = "unpack it first"
_FORMATS = (
    Format(b"\x1f\x8b", "gzip", "unpack it, or let its name end in .gz", ".gz"),
    Format(b"\x28\xb5\x2f\xfd", "zstd", "unpack it, or let its name end in .zst", ".zst"),
    Format(b"PK\x03\x04", "a zip archive, as .docx, .xlsx, .odt and .epub files are", _SAVE),
    Format(b"%PDF-", "a PDF document", _SAVE),
    Format(b"{\\rtf", "a rich text document (RTF)", _SAVE),
    Format(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document (.doc, .xls)", _SAVE),
    Format(b"BZh91AY&SY", "bzip2", _UNPACK),
    Format(b"\xfd7zXZ\0", "xz", _UNPACK),
    Format(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    Format(b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    Format(b"\x89PNG\r\n\x1a\n", "an image (PNG)", "name a text file"),
    Format(b"\xff\xd8\xff", "an image (JPEG)", "name a text file"),
    Format(b"SQLite format 3\0", "an SQLite database", "export its text first"),
    Format(b"PAR1\x15", "a Parquet file", "export its text first"),
    Format(b"\x7fELF", "a program (ELF)", "name a text file"),
)
_TAR = Format(b"ustar", "a tar archive", _UNPACK)
_TAR_PLACE = 257


def mark_of(head: bytes) -> str | None:
    """Return the encoding whose byte order mark these bytes begin with, or None."""
    return next((name for mark, name in MARKS if head.startswith(mark)), None)


def format_of(head: bytes) -> Format | None:
    """Return the format that a file of these first HEAD bytes has, if it is no plain text."""
    if head[_TAR_PLACE:].startswith(_TAR.start):
        return _TAR
    return next((each for each in _FORMATS if head.startswith(each.start)), None)


def wide_encoding(units: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 encoding that these bytes are certainly in, or None.

    The high byte of an ASCII character is 0, and it stands at every second place (or three of every
    four are 0). Of other alphabets it is a control character, such as 4 in Cyrillic, and 0 again
    after each space and line ending. It is white space, such as 9 in Devanagari, in alphabets of
    India; of a text in another encoding, as much of it stands at the other places.

    Args:
        units: Bytes from an offset that is a multiple of 4; or characters decoded as something
            else, one byte each, "?" for those above U+00FF.
    """
    if len(units) >= 4 * _LEAST_PAIRS:
        zeros = [units[k::4].count(0) for k in range(4)]
        quarter, half = len(units) // 4, len(units) // 8
        if zeros[3] >= _ONE_PACE * quarter and zeros[2] >= 0.9 * quarter and zeros[0] < half:
            return "utf-32-le"
        if zeros[0] >= _ONE_PACE * quarter and zeros[1] >= 0.9 * quarter and zeros[3] < half:
            return "utf-32-be"
    if len(units) < 2 * _LEAST_PAIRS:
        return None
    for high, low, name in (
        (units[1::2], units[::2], "utf-16-le"),
        (units[::2], units[1::2], "utf-16-be"),
    ):
        zeros_high, zeros_low = high.count(0), low.count(0)
        if zeros_high and zeros_high >= _ONE_PACE * (zeros_high + zeros_low):
            controls_high = _count(high, _BELOW_SPACE) - _white_space_of_lines(high, low)
            controls_low = _count(low, _CONTROLS)
            if controls_high >= 0.7 * len(high) and controls_low < 0.7 * len(low):
                return name
    return None


def is_binary(units: bytes) -> bool:
    """Return whether more than a tenth of these characters, one byte each, are control characters.

    White space and the escape character are not counted. Fewer than 512 are never binary.
    """
    return len(units) >= _LEAST_BINARY and 10 * _count(units, _CONTROLS) > len(units)


def guess_wide_encoding(data: bytes) -> str | None:
    """Return the UTF-16 encoding that bytes which are not UTF-8 seem to be in, or None.

    In Chinese no byte need be 0; but a text of it has spaces, line endings or full stops, and no
    character that Unicode does not have.

    Args:
        data: From an even offset of the file; the end may cut a character.
    """
    if name := wide_encoding(data):
        return name
    for name in ("utf-16-le", "utf-16-be"):
        text = codecs.getincrementaldecoder(name)("replace").decode(data)
        usual = sum(map(text.count, "\t\n\r 　、。，"))
        strange = sum(not (c.isprintable() or c in "\t\n\r\u3000\xa0\ufeff") for c in text)
        if len(text) >= _LEAST_PAIRS and "\ufffd" not in text and not strange and usual:
            return name
    return None


def _white_space_of_lines(high: bytes, low: bytes) -> int:
    """Return how much white space among the high bytes is no alphabet's."""
    counts = {each: high.count(each) for each in _WHITE_SPACE}
    alphabet = max(counts, key=counts.__getitem__)
    if len(high) >= _LEAST_BLOCK and counts[alphabet] >= 8 * low.count(alphabet):
        counts[alphabet] = 0
    return sum(counts.values())


def _count(data: bytes, members: bytes) -> int:
    """Return how many bytes are among the members."""
    return len(data) - len(data.translate(None, members))
