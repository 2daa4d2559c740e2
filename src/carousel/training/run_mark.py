"""Recognise run folders: by the mark that only Carousel writes, or by the form of older runs.

carousel-run.json stands in the folder before anything else does. A folder without it is a run if
its checkpoints/ holds checkpoints and nothing else; or if it saved nothing, where checkpoints/ is
empty beside a lock that holds a pid, and all other names are those that a run writes.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from carousel.errors import RunError
from carousel.files import (
    is_leftover,
    remove_empty,
    remove_file,
    remove_leftovers,
    write_durably,
)
from carousel.input_files import (
    METRICS_LINE_LIMIT,
    POINTER_LIMIT,
    open_regular,
    read_regular,
)
from carousel.locks import fcntl, is_lock
from carousel.models.checkpoint import MANIFEST, has_manifest, to_json
from carousel.output_folders import KIND, MARK, read_mark
from carousel.plain_paths import is_plain_file, is_plain_folder, kind_of

FORMAT = 1

LOCK, HOLDER = "lock", "lock-holder"  # the second where the file system has no locks
METRICS, CHECKPOINTS, SAMPLES = "metrics.jsonl", "checkpoints", "samples"
POINTERS = ("best", "last")
# Written under a temporary name, then renamed.
PUBLISHED = (METRICS, *POINTERS, "loss.png", "loss.svg", MARK)
FILES = (*PUBLISHED, LOCK, HOLDER)
STEP = re.compile(r"[0-9]{8,}")  # the name of a checkpoint
SAMPLE = re.compile(r"[0-9]{8,}\.txt")

_LEFTOVER = re.compile("|".join(map(re.escape, PUBLISHED)))
_POINTER = re.compile(rb"[0-9]{8,}\n")


def write_mark(root: Path) -> None:
    """Mark a folder as a run, durably, unless it is marked."""
    if not is_marked(root):
        write_durably(root / MARK, to_json({"kind": KIND, "format": FORMAT}))


def is_marked(root: Path) -> bool:
    """Return whether a folder has the mark, of this format or of a later one."""
    return read_mark(root) is not None


def is_new(root: Path) -> bool:
    """Return whether a run can begin here: no folder, an empty one, or one about to be marked."""
    if not os.path.lexists(root):
        return True
    return root.is_dir() and all(is_leftover(path, MARK) for path in root.iterdir())


def has_only_an_old_lock(root: Path) -> bool:
    """Return whether a folder has nothing but the lock of a process that has ended.

    A start that was undone, and killed before its last file was removed, leaves that.
    """
    if not root.is_dir():
        return False
    names = {path.name for path in root.iterdir()}
    return LOCK in names <= {LOCK, HOLDER} and _holder_has_ended(root / LOCK)


def check_run(root: Path, shown: str) -> None:
    """Refuse a folder that is neither new nor a run, and a run of which a part is a link.

    Args:
        root: The folder.
        shown: What a message calls it.

    Raises:
        RunError: If it is one of these; the message names what is not Carousel's.
    """
    if is_new(root):
        return
    if not root.is_dir():
        raise RunError(f"{shown} is {kind_of(root)}; name a folder for the run")
    if (mark := read_mark(root)) is None and (foreign := _foreign_item(root)) is not None:
        if has_manifest(root):
            raise RunError(f"{shown} holds a model and no run; --init-from trains it further")
        which = f" ({foreign} is not Carousel's)" if foreign else ""
        raise RunError(f"{shown} is not empty and holds no run{which}; name another")
    if mark is not None and mark["format"] != FORMAT:
        raise RunError(
            f"{shown}/{MARK} is of format {mark['format']}, and this version writes {FORMAT}: "
            "use the version of carousel that wrote it, or name another folder"
        )
    for name, is_sound in (
        *((name, is_plain_folder) for name in (CHECKPOINTS, SAMPLES)),
        *((name, is_plain_file) for name in (LOCK, HOLDER, METRICS)),
    ):
        path = root / name
        if os.path.lexists(path) and not is_sound(path) and kind_of(path) != "a file":
            raise RunError(
                f"{shown}/{name} is {kind_of(path)}, which no run writes: move it away, or name "
                "another folder"
            )


def _foreign_item(root: Path) -> str | None:
    """Return what shows that a folder without a mark is no run, "" if nothing does; None: it is."""
    names = {path.name for path in root.iterdir()}
    if not names & {LOCK, CHECKPOINTS}:
        return ""
    if has_only_an_old_lock(root):
        return None
    checkpoints = root / CHECKPOINTS
    if not is_plain_folder(checkpoints):
        return CHECKPOINTS if CHECKPOINTS in names else LOCK
    saved = [path for path in sorted(checkpoints.iterdir()) if not is_leftover(path, STEP)]
    for path in saved:  # one that a disk has damaged is a checkpoint still
        if not (
            STEP.fullmatch(path.name) and is_plain_folder(path) and is_plain_file(path / MANIFEST)
        ):
            return f"{CHECKPOINTS}/{path.name}"
    if saved:
        return None if any(map(has_manifest, saved)) else f"{CHECKPOINTS}/{saved[0].name}"
    return _foreign_in_unsaved(root, names)


def _holder_has_ended(lock: Path) -> bool:
    """Return whether a path is a lock file that names a process, and that process is gone."""
    if fcntl is None or not is_lock(lock):  # Windows cannot ask for a process without ending it
        return False
    try:
        os.kill(int(read_regular(lock, POINTER_LIMIT)), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, ValueError):  # another user's; empty; no number of a process
        return False
    return False


def _foreign_in_unsaved(root: Path, names: set[str]) -> str | None:
    """Return the first item that a run which saved nothing would not have written."""
    if not is_lock(root / LOCK):
        return LOCK if LOCK in names else CHECKPOINTS
    for name in sorted(names - {LOCK, CHECKPOINTS}):
        path = root / name
        if not (is_leftover(path, _LEFTOVER) or _is_as_written(path)):
            return name
    return None


def _is_as_written(path: Path) -> bool:
    """Return whether an item is what a run writes under its name."""
    if path.name == SAMPLES:
        return is_plain_folder(path) and all(
            SAMPLE.fullmatch(item.name) and is_plain_file(item) for item in path.iterdir()
        )
    if path.name not in FILES or not is_plain_file(path):
        return False
    if path.name in POINTERS:
        return _POINTER.fullmatch(read_regular(path, POINTER_LIMIT)) is not None
    if path.name == METRICS:
        with open_regular(path) as file:
            first = file.readline(METRICS_LINE_LIMIT)
        return first == b"" or first.startswith(b'{"step": ')
    return True


def remove_leftovers_of_a_run(root: Path) -> None:
    """Delete what a killed trainer left half-written; hold the run's lock."""
    remove_leftovers(root, _LEFTOVER)
    for name, names in ((CHECKPOINTS, STEP), (SAMPLES, SAMPLE)):
        if is_plain_folder(root / name):
            remove_leftovers(root / name, names)


def remove_written(root: Path, names: Iterable[str]) -> None:
    """Delete files that a run wrote; what is not a file stays."""
    for name in names:
        if is_plain_file(root / name):
            remove_file(root / name)


def remove_samples(root: Path) -> None:
    """Delete the samples of a run, and their folder if nothing else is in it."""
    folder = root / SAMPLES
    if is_plain_folder(folder):
        remove_written(folder, [p.name for p in folder.iterdir() if SAMPLE.fullmatch(p.name)])
        remove_empty(folder)
