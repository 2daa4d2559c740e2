"""Recognise plain files and folders, and open files without following links.

What Carousel overwrites or deletes must be its work. A link that has one of its names is not: what
it points to belongs to somebody else. Links on the way to a folder are followed; a link in it is
refused or, where a file is published by a rename, replaced without a look at what it points to.
"""

import errno
import os
import re
import stat
from pathlib import Path

# Windows has neither; there `refuse_other_kinds` alone keeps a link from being followed.
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def is_plain_file(path: Path) -> bool:
    """Return whether a path is a regular file itself, not a link to one."""
    return stat.S_ISREG(_mode(path))


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder itself, not a link to one (or a junction of Windows)."""
    return stat.S_ISDIR(_mode(path)) and not _is_junction(path)


def kind_of(path: Path) -> str:
    """Return what a path is, as a message says it: "a file", "a symbolic link", "nothing", …."""
    mode = _mode(path)
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
    if mode == 0:
        return "nothing"
    if _is_junction(path):
        return "a junction"
    return kinds.get(stat.S_IFMT(mode), "a pipe, a socket or a device")


def refuse_other_kinds(path: Path) -> None:
    """Refuse a path that exists and is not a regular file: a link, a pipe, a folder, a device.

    Raises:
        OSError: If it is one of these; the message says which.
    """
    if os.path.lexists(path) and not is_plain_file(path):
        raise OSError(errno.ELOOP, f"it is {kind_of(path)}, not a file", str(path))


def resolved(path: Path) -> Path:
    """Return a path without `..`: after a link, that is the folder above what it points to.

    What does not exist yet is taken for a folder. A path without `..` is returned as it is.
    """
    return Path(os.path.realpath(path)) if ".." in path.parts else path


def readable(name: str | Path) -> str:
    """Return a name as it is stored and shown: U+FFFD where it is not UTF-8.

    Python hands over such a byte as half of a surrogate pair, which opens the file again, and which
    neither JSON nor a terminal can hold.
    """
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(name))


def _mode(path: Path) -> int:
    """Return the mode of a path itself; 0 if there is nothing."""
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_junction(path: Path) -> bool:
    try:
        tag: int = getattr(os.lstat(path), "st_reparse_tag", 0)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
