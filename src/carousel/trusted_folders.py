"""Folders that no other user can have written to; code loaded from them runs as this user.

A folder is trusted if it and every folder above it belong to this user or to root, and nobody else
can write there. A sticky folder such as /tmp lets others write, but not replace what is not theirs,
so it may stand above. A group that is this user's alone, or root's, is nobody else. Windows has
neither owners nor modes of this kind: there everything is trusted.

Source: OpenSSH, safe_path() in misc.c; Debian's user-group-modes.patch for private groups.
"""

import os
import stat
from importlib import import_module
from pathlib import Path

HAS_OWNERS = hasattr(os, "getuid")


def distrust(path: Path) -> str | None:
    """Return why a folder or file cannot be trusted; None if it can. What is not there yet can.

    Args:
        path: Without a link in it (os.path.realpath): a link may point elsewhere after the look.
    """
    if not HAS_OWNERS:
        return None
    for step in (path, *path.parents):
        try:
            state = os.lstat(step)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{step} cannot be looked at ({error.strerror})"
        if reason := _reason(step, state, is_above=step != path):
            return reason
    return None


def is_foreign(path: Path) -> str | None:
    """Return who else can write a folder or decide on its content: its owner, or everybody."""
    if not HAS_OWNERS:
        return None
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    if state.st_uid not in (0, os.getuid()):
        return f"{path} belongs to another user ({state.st_uid})"
    return f"{path} can be written by everybody" if state.st_mode & stat.S_IWOTH else None


def close_to_others(path: Path) -> None:
    """Remove everyone's permission to write a file or folder, except the owner's."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~0o022)  # noqa: PTH101, PTH116


def is_own_and_open_to_a_group(path: Path) -> bool:
    """Return whether a folder is this user's, and a group, but not everybody, can write there."""
    if not HAS_OWNERS:
        return False
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return (
        state.st_uid == os.getuid()
        and bool(state.st_mode & stat.S_IWGRP)
        and not state.st_mode & stat.S_IWOTH
    )


def _reason(path: Path, state: os.stat_result, *, is_above: bool) -> str | None:
    if stat.S_ISLNK(state.st_mode):
        return f"{path} is a symbolic link"
    if state.st_uid not in (0, os.getuid()):
        return f"{path} belongs to another user ({state.st_uid})"
    if is_above and state.st_mode & stat.S_ISVTX:
        return None
    if state.st_mode & stat.S_IWOTH:
        return f"{path} can be written by everybody"
    if state.st_mode & stat.S_IWGRP and not _is_private_group(state.st_gid):
        return f"{path} can be written by a group ({state.st_gid})"
    return None


def _is_private_group(group: int) -> bool:
    """Return whether a group is root's, or has this user's name and no other members."""
    if group == 0:
        return True
    try:
        user = import_module("pwd").getpwuid(os.getuid())
        entry = import_module("grp").getgrgid(group)
    except (ImportError, KeyError):
        return False
    is_own = (entry.gr_gid, entry.gr_name) == (user.pw_gid, user.pw_name)
    return is_own and set(entry.gr_mem) <= {user.pw_name}
