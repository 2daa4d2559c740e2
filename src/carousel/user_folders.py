"""The folder of a user's caches: in the home folder, unless the environment names another.

A user need not have a home: a container may run under a number that no list of users has, without
HOME, or with one that does not exist.
"""

# ruff: noqa: PTH111, PTH117

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from carousel.errors import StorageError

# Of a place that cannot be written, whoever runs this and however often.
_UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
    errno.ENOENT,  # as automounted folders say it, and /proc
}


def user_cache_folder() -> Path:
    """Return where this user's caches stand: CAROUSEL_CACHE, else the platform's own place.

    XDG_CACHE_HOME counts only if it is absolute, as its specification demands.

    Raises:
        StorageError: If there is neither, because this user has no home folder.
    """
    if chosen := chosen_folder("CAROUSEL_CACHE"):
        return chosen
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "carousel"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "carousel"
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else _home() / ".cache") / "carousel"


def chosen_folder(variable: str) -> Path | None:
    """Return the folder that an environment variable names; None if it is empty or not set.

    Raises:
        StorageError: If it begins with a ~ and there is no such home folder.
    """
    chosen = os.environ.get(variable)
    if not chosen:
        return None
    if chosen == "~" or chosen.startswith("~/"):
        return _home(f"{variable} is {chosen!r}, and ") / chosen[2:]
    try:
        return Path(chosen).expanduser()
    except RuntimeError:
        raise StorageError(
            f"{variable} is {chosen!r}, and there is no such user: name the folder in full"
        ) from None


@contextmanager
def explain_unwritable(folder: Path, remedy: str) -> Iterator[None]:
    """Say what would help if a folder cannot be made or written; other errors pass through.

    Args:
        folder: The folder; errors about other places are none of its.
        remedy: What would help, in the words of a user.

    Raises:
        StorageError: If it cannot be made or written.
    """
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename or ""))
        is_here = place.is_relative_to(folder) or folder.is_relative_to(place)
        if error.errno not in _UNWRITABLE or not error.filename or not is_here:
            raise
        raise StorageError(f"{folder} cannot be written ({error.strerror}): {remedy}") from None


def _home(why: str = "") -> Path:
    """Return the user's home folder: HOME if it is absolute, else what the list of users has.

    Raises:
        StorageError: If there is none; `why` begins the message.
    """
    home = os.environ.get("HOME", "")
    if sys.platform == "win32":
        home = os.path.expanduser("~")
    elif not home.startswith("/"):
        home = _listed_home()
    if not os.path.isabs(home):
        raise StorageError(
            f"{why}this user has no home folder: let CAROUSEL_CACHE name a folder for the cache "
            "that can be written"
        )
    return Path(home)


def _listed_home() -> str:
    """Return the home folder in the system's list of users; empty if the user is not in it."""
    try:
        return str(import_module("pwd").getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        return ""
