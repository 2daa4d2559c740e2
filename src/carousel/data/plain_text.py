"""Refuse files that decode without an error and are not text in that encoding.

UTF-16 of English without a byte order mark decodes as UTF-8, with U+0000 after every letter. So do
archives of texts, padded with U+0000. Single-byte encodings decode everything.
"""

from collections.abc import Iterable, Iterator

from carousel.errors import TextError
from carousel.file_signatures import (
    WINDOW,
    format_of,
    guess_wide_encoding,
    is_binary,
    mark_of,
    wide_encoding,
)

_FAMILIES = ("utf-8", "utf-16", "utf-32")


def check_chunks(chunks: Iterable[str], name: str, codec: str) -> Iterator[str]:
    """Yield decoded chunks of a file as they are, once they are seen to be text.

    Stretches of WINDOW characters without U+0000 are always text: looking for it costs little.

    Args:
        chunks: With the byte order mark, if the codec leaves it, and with the file's line endings.
        name: Of the file, for messages.
        codec: Name of the one that decoded them, as `codecs.lookup` has it.

    Raises:
        TextError: If a stretch looks like UTF-16 or UTF-32, or more than a tenth of it are control
            characters.
    """
    is_two_byte = codec in ("utf-16-le", "utf-16-be")
    held, start = "", 0  # of the stretch that has begun, and where it begins
    for chunk in chunks:
        whole = (len(held) + len(chunk)) // WINDOW * WINDOW  # of these, the stretches that end
        if _is_suspicious(chunk, is_two_byte) or _is_suspicious(held, is_two_byte):
            text = held + chunk
            _check(text[:whole], start, name, codec)
            held = text[whole:]
        else:  # nothing is copied but the end
            held = chunk[whole - len(held) :] if whole else held + chunk
        start += whole
        yield chunk
    _check(held, start, name, codec)


def check_head(head: bytes, name: str, codec: str) -> None:
    """Refuse a file of another format, or with the byte order mark of another encoding.

    Args:
        head: Its first HEAD bytes, decompressed.
        name: Of the file, for messages.
        codec: Name of the one that decodes it.

    Raises:
        TextError: If it is so.
    """
    check_format(head, name, codec)
    mark = mark_of(head)
    if mark and not codec.startswith(_FAMILIES):
        raise TextError(
            f"{name} begins with the byte order mark of {mark.upper()}: --encoding {mark} reads it"
        )


def check_format(head: bytes, name: str, codec: str) -> None:
    """Refuse a file that begins as another format does.

    Raises:
        TextError: If it is so.
    """
    # In UTF-16 any two bytes are a character.
    if not codec.startswith(_FAMILIES[1:]) and (kind := format_of(head)):
        raise TextError(f"{name} looks like {kind.name}: {kind.remedy}")


def advice(head: bytes, codec: str) -> str:
    """Return what may decode a file with these first bytes."""
    mark = mark_of(head)
    if mark and not codec.startswith(mark):
        return f"it looks like {mark.upper()}: --encoding {mark}"
    if not codec.startswith(_FAMILIES[1:]) and (wide := guess_wide_encoding(head)):
        return f"it looks like {_family(wide)} without a byte order mark: --encoding {wide}"
    return (
        "--encoding NAME reads another encoding (latin-1, cp1252, …), "
        "--errors replace puts U+FFFD for what does not decode"
    )


def check_wide(data: bytes, name: str, codec: str) -> None:
    """Refuse a file whose first bytes are certainly UTF-16 or UTF-32, which the codec is not.

    Raises:
        TextError: If it is so.
    """
    if not codec.startswith(_FAMILIES[1:]) and not mark_of(data) and (wide := wide_encoding(data)):
        raise _wide(name, 0, wide)


def _check(text: str, start: int, name: str, codec: str) -> None:
    """Look at the stretches of a text that may not be one."""
    is_two_byte = codec in ("utf-16-le", "utf-16-be")
    if not _is_suspicious(text, is_two_byte):
        return
    for begin in range(0, len(text), WINDOW):
        window = text[begin : begin + WINDOW]
        if is_two_byte and _is_swapped(window):
            other = "utf-16-be" if codec == "utf-16-le" else "utf-16-le"
            raise TextError(
                f"{name} has the bytes of each character in the other order: "
                f"--encoding {other} reads it"
            )
        if "\0" not in window:
            continue
        units = window.encode("latin-1", "replace")
        if wide := wide_encoding(units):
            if codec.startswith("utf-16"):  # what stands at every second place is two bytes wide
                wide = wide.replace("16", "32")
            raise _wide(name, start + begin, wide)
        if is_binary(units):
            where = f" from character {start + begin:,} on" if start + begin else ""
            raise TextError(
                f"{name} is no plain text: more than a tenth of its characters{where} are control "
                "characters such as U+0000; name a text file, or take them out"
            )


def _is_suspicious(text: str, is_two_byte: bool) -> bool:
    return "\0" in text or (is_two_byte and ("\u0a00" in text or "\u2000" in text))


def _is_swapped(window: str) -> bool:
    """Return whether white space stands in a text only with its two bytes exchanged."""
    swapped = sum(map(window.count, "\u0a00\u0d00\u2000"))
    return swapped > 3 and not any(c in window for c in "\n\r ")


def _wide(name: str, start: int, wide: str) -> TextError:
    reason = "half of its characters or more would be control characters such as U+0000"
    if start:
        return TextError(
            f"{name} looks like {_family(wide)} from character {start:,} on ({reason}): it mixes "
            "encodings; convert it to one"
        )
    return TextError(
        f"{name} looks like {_family(wide)} without a byte order mark ({reason}): "
        f"--encoding {wide} reads it"
    )


def _family(wide: str) -> str:
    return wide[:6].upper()


def decode_utf8(data: bytes, name: str) -> str:
    """Return a short text in UTF-8, such as a prompt, without a byte order mark.

    Args:
        data: All of it.
        name: Of the file or flag, for messages.

    Raises:
        TextError: If it is not UTF-8, or is certainly something else; the message has what would
            work.
    """
    if kind := format_of(data):
        remedy = "unpack it first" if kind.ending else kind.remedy
        raise TextError(f"{name} looks like {kind.name}: {remedy}")
    if not mark_of(data) and (wide := wide_encoding(data[:WINDOW])):
        raise TextError(
            f"{name} looks like {_family(wide)} without a byte order mark: save it as UTF-8"
        )
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        seems = mark_of(data) or guess_wide_encoding(data[:WINDOW])
        seen = f"; it looks like {_family(seems)}: save it as UTF-8" if seems else ""
        raise TextError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}{seen}"
        ) from None
