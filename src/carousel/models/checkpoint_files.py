"""The files of a checkpoint: a folder with a manifest, there whole or not at all.

manifest.json has the size and SHA-256 of each file. The folder appears by one rename. What is read
may be anybody's: regular files only, of bounded size.
"""

import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from carousel.errors import CarouselError, CheckpointError, UnreadableError, shorten
from carousel.files import publish_folder
from carousel.input_files import (
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    VOCABULARY_LIMIT,
    open_regular,
    read_regular,
)
from carousel.machine import available_memory
from carousel.plain_paths import is_plain_file

FORMAT = 2
MANIFEST = "manifest.json"
MODEL_FILES = {"config.json", "vocabulary.json", "model.safetensors"}  # what load_model keeps
_TRAINER_FILES = {"trainer.json", "trainer.safetensors"}  # what training adds
# Of the others the memory of the machine is the bound: they hold tensors.
_LIMITS = {
    "config.json": CONFIG_LIMIT,
    "vocabulary.json": VOCABULARY_LIMIT,
    "trainer.json": CONFIG_LIMIT,
}


def to_json(table: Any) -> bytes:
    """Return readable JSON, the same bytes for the same table."""
    text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # half a surrogate pair becomes \udce9


def write_checkpoint(folder: Path, files: Mapping[str, bytes]) -> None:
    """Publish the files and their manifest as a new folder, durably and in one step."""
    manifest = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    publish_folder(folder, {**files, MANIFEST: to_json({"format": FORMAT, "files": manifest})})


def read_checkpoint(folder: Path, keep: Collection[str] | None = None) -> dict[str, bytes]:
    """Return files of a checkpoint, after every one was found whole and unchanged.

    Args:
        folder: Of the checkpoint.
        keep: Names of those to return; the others pass through a small buffer. None: all of them.

    Raises:
        CheckpointError: If the folder is none, or a file is missing, damaged, too many, too large
            or no regular file.
    """
    try:
        data = read_regular(folder / MANIFEST, MANIFEST_LIMIT)
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{folder} is no checkpoint: it has no {MANIFEST}") from None
    except OSError as error:
        raise _unreadable(error, folder / MANIFEST) from None
    expected = _read_manifest(folder / MANIFEST, data)
    if surplus := sorted(present - set(expected)):
        raise CheckpointError(f"{folder / surplus[0]} is not in the manifest")
    if missing := sorted(set(expected) - present):
        raise CheckpointError(f"{folder / missing[0]} is missing")
    kept = set(expected) if keep is None else set(keep)
    for name in sorted(set(expected) - kept):
        _check(folder / name, *expected[name])
    return {name: _read(folder / name, *row) for name, row in expected.items() if name in kept}


def _read_manifest(path: Path, data: bytes) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file; the manifest itself must be as write_checkpoint's."""
    try:
        manifest = json.loads(data)
        version = manifest["format"]
        expected = {name: (row["bytes"], row["sha256"]) for name, row in manifest["files"].items()}
        is_whole = to_json(manifest) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise CheckpointError(f"{path} is damaged: it is not as it was written")
    if version != FORMAT:
        raise CheckpointError(f"{path}: format {shorten(version)}, this version reads {FORMAT}")
    return expected


def has_manifest(folder: Path) -> bool:
    """Return whether a folder has a manifest as `write_checkpoint` writes it, of any format."""
    try:
        data = read_regular(folder / MANIFEST, MANIFEST_LIMIT)
        manifest = json.loads(data)
        rows = [set(row) for row in manifest["files"].values()]
        return to_json(manifest) == data and all(row == {"bytes", "sha256"} for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def foreign_names(folder: Path) -> list[str]:
    """Return what a checkpoint folder holds beside the files of a checkpoint: a user's notes."""
    try:
        data = read_regular(folder / MANIFEST, MANIFEST_LIMIT)
        expected = set(_read_manifest(folder / MANIFEST, data))
    except (CheckpointError, OSError):
        expected = set()
    known = expected | MODEL_FILES | _TRAINER_FILES | {MANIFEST}
    return sorted(
        path.name for path in folder.iterdir() if path.name not in known or not is_plain_file(path)
    )


def _read(path: Path, size: int, sha256: str) -> bytes:
    """Read one file and hold it against its manifest entry, the size first."""
    with _opened(path, size) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")
    return data


def _check(path: Path, size: int, sha256: str) -> None:
    """Hold one file against its manifest entry without keeping it."""
    with _opened(path, size) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")


@contextmanager
def _opened(path: Path, size: int) -> Iterator[FileIO]:
    """Open a regular file of this size for reading; one larger than it can be is refused."""
    limit = _LIMITS.get(path.name) or available_memory()
    try:
        with open_regular(path) as file:
            if (found := os.fstat(file.fileno()).st_size) != size:
                raise CheckpointError(
                    f"{path} is damaged: {found} bytes instead of {shorten(size)}"
                )
            if limit is not None and size > limit:
                raise CheckpointError(f"{path} has {size:,} bytes, and may have {limit:,} at most")
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise _unreadable(error, path) from None


def _unreadable(error: OSError, path: Path) -> Exception:
    """Return whether an error means damage on disk, not a lack of permission or descriptors."""
    if isinstance(error, UnreadableError):
        return CheckpointError(f"{path.parent} is damaged: {error}")
    if error.errno in (errno.EIO, errno.EISDIR):
        return CheckpointError(f"{path} is damaged: {error.strerror}")
    return error


_MISFITS = CarouselError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError


@contextmanager
def blame(
    file: Path | str, misfit: str = "does not fit this program or its checkpoint"
) -> Iterator[None]:
    """Turn an error about a file's content into a CheckpointError that names the file.

    Args:
        file: Its path or name.
        misfit: What the message says about it.
    """
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{file} is not complete: {shorten(error)} is missing") from None
    except _MISFITS as error:
        raise CheckpointError(f"{file} {misfit}: {shorten(error)}") from None
