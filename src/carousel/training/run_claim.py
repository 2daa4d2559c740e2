"""Claim a run folder for one command: check it, mark it, lock it, undo a failed start."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from carousel.files import Lock, make_folder, remove_empty, remove_made
from carousel.output_folders import MARK
from carousel.plain_paths import is_plain_folder
from carousel.training.run_folder import RunFolder
from carousel.training.run_mark import (
    CHECKPOINTS,
    FILES,
    HOLDER,
    LOCK,
    SAMPLES,
    check_run,
    has_only_an_old_lock,
    is_new,
    remove_leftovers_of_a_run,
    remove_samples,
    remove_written,
    write_mark,
)

_log = logging.getLogger("carousel")


@contextmanager
def claimed(path: Path) -> Iterator[RunFolder]:
    """Yield a run folder, made if there is none, and hold its lock.

    A block that ends with nothing saved leaves everything as it was: the files and folders that
    this process made are removed, by their names; what somebody else put there stays.

    Raises:
        RunError: If the folder is neither new nor a run, or is in use.
    """
    folder = RunFolder(path)
    root = folder.root
    check_run(root, str(path))
    before = {name for name in (*FILES, CHECKPOINTS, SAMPLES) if os.path.lexists(root / name)}
    made = make_folder(root)
    try:
        is_free = has_only_an_old_lock(root)
        if is_new(root):  # an earlier run without a mark gets it when it is resumed
            write_mark(root)
        with Lock(root / LOCK, name=str(path)):
            if is_free:  # now that the lock is that of this process
                write_mark(root)
            try:
                yield folder
            finally:
                folder.close()
                if not folder.saved_steps():
                    with suppress(OSError):  # what cannot be removed stays
                        _undo(root, before)
                        _warn_of_what_stays(folder, before)
    finally:
        if sys.platform == "win32" and LOCK not in before and not (root / MARK).exists():
            with suppress(OSError):  # in use; only now, as an open file cannot be deleted there
                remove_written(root, [LOCK])
        remove_made(made)


def _warn_of_what_stays(folder: RunFolder, before: set[str]) -> None:
    """Name what somebody put into a folder that this process made, and that it leaves there."""
    if before or not folder.root.is_dir():
        return
    left = sorted(item.name for item in folder.root.iterdir() if item.name not in FILES)
    if left:
        _log.warning("%s is kept: %s in it is not Carousel's", folder.path, left[0])


def _undo(root: Path, before: set[str]) -> None:
    """Remove what a run wrote; hold its lock.

    Args:
        root: The folder of the run.
        before: Names that were there before the run began: these stay.
    """
    if not root.is_dir():
        return
    remove_leftovers_of_a_run(root)
    if SAMPLES not in before:
        remove_samples(root)
    if CHECKPOINTS not in before and is_plain_folder(root / CHECKPOINTS):
        remove_empty(root / CHECKPOINTS)
    # The mark is the last but the lock: a kill on the way leaves a folder that is known as a run.
    # Where a file beside the lock is the lock, that goes when the lock is released.
    files = [name for name in FILES if name not in (MARK, LOCK, HOLDER)]
    remove_written(root, [name for name in (*files, MARK, LOCK) if name not in before])
