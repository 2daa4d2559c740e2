"""The C++ of cpu/ as a library for this processor: compiled on first use, kept in the user's cache.

| name in the cache | content |
|---|---|
| KEY/ | kernels.so, and in sha256 its hash; there whole or not at all |
| KEY.lock | held by whoever compiles or mends that entry |

The library runs as this user, so nobody else may have written it: a cache in which others can write
is not used, but a private folder in its place (see trusted_folders.py).

KEY is a hash of all that the library depends on: sources, torch's version, the compiler's flags.
compiler.py calls the compiler.
"""

import atexit
import functools
import hashlib
import logging
import math
import os
import platform
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from carousel.errors import StorageError
from carousel.files import Lock, make_folder, publishing, remove_folder
from carousel.input_files import LIBRARY_LIMIT, POINTER_LIMIT, read_regular
from carousel.kernels.compiler import compile_library, compiler, compiler_flags
from carousel.plain_paths import is_plain_file, is_plain_folder, kind_of
from carousel.trusted_folders import close_to_others, distrust, is_own_and_open_to_a_group
from carousel.user_folders import chosen_folder, explain_unwritable, user_cache_folder

_ELSEWHERE = "let CAROUSEL_KERNEL_CACHE name a folder that can be"

LIBRARY, SHA256 = "kernels.so", "sha256"
_ENTRY = re.compile(r"[0-9a-f]{32}")

_SOURCES = Path(__file__).with_name("cpu")
_log = logging.getLogger("carousel")


def cache_folder() -> Path:
    """Return where the libraries are kept: CAROUSEL_KERNEL_CACHE, else in the user's caches."""
    return chosen_folder("CAROUSEL_KERNEL_CACHE") or user_cache_folder() / "kernels"


def trusted_folder() -> Path:
    """Return `cache_folder()`, or a private one for this process if others can write there.

    This user's folder that only a group can write becomes private, and what it holds is removed.
    """
    folder = Path(os.path.realpath(cache_folder()))
    if is_own_and_open_to_a_group(folder):
        _make_private(folder)
    if reason := distrust(folder):
        return _private_folder(reason)
    return folder


def _make_private(folder: Path) -> None:
    """Remove a group's access to a folder, and its libraries, which somebody may have planted."""
    with suppress(OSError):  # of a file system without modes; then it is not trusted
        os.chmod(folder, 0o700)  # noqa: PTH101
    if is_own_and_open_to_a_group(folder):
        return
    for entry in sorted(folder.iterdir()):
        if _ENTRY.fullmatch(entry.name) and _is_made_here(entry):
            with Lock(entry.with_name(f"{entry.name}.lock"), timeout=math.inf):
                if is_plain_folder(entry):
                    remove_folder(entry)
    _log.warning("%s could be written by a group; it is private now, its kernels are gone", folder)


@functools.cache
def _private_folder(reason: str) -> Path:
    """Make a folder that nobody else can write, for the time of this process; say why."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="carousel-kernels-")))
    pid = os.getpid()

    def remove() -> None:
        if os.getpid() == pid:  # not that of a fork
            with suppress(OSError):
                remove_folder(folder)

    atexit.register(remove)
    if distrust(folder):
        raise StorageError(
            f"{reason}, and {folder.parent} is no better: let CAROUSEL_KERNEL_CACHE name a folder "
            "that only you can write"
        )
    _log.warning(
        "%s: the CPU kernels are compiled in %s instead, for this process; %s",
        *(reason, folder, "let CAROUSEL_KERNEL_CACHE name a folder that only you can write"),
    )
    return folder


def library() -> Path:
    """Return the library for this machine, compiled now unless the cache has it whole.

    Raises:
        BuildError: If it cannot be compiled.
        InstructionSetError: If there is no code for this processor.
        StorageError: If there is no folder for it that can be written.
        OSError: If the cache cannot be read or written for another reason.
    """
    flags = compiler_flags()
    entry = trusted_folder() / key(flags)
    if is_whole(entry):
        return entry / LIBRARY
    with explain_unwritable(entry.parent, _ELSEWHERE):
        _make_cache(entry.parent)
        return _build(entry, flags)


def _make_cache(folder: Path) -> None:
    """Make the cache if there is none; whatever the umask, only this user can write there."""
    for made in make_folder(folder):
        close_to_others(made.path)


def _build(entry: Path, flags: list[str]) -> Path:
    """Compile an entry of the cache, unless another process does so first."""
    with Lock(entry.with_name(f"{entry.name}.lock"), timeout=math.inf):
        if is_whole(entry):  # somebody else was quicker
            return entry / LIBRARY
        if os.path.lexists(entry):
            _check_made_here(entry)
            _log.warning("the compiled CPU kernels in %s are damaged; compiling them anew", entry)
            remove_folder(entry)
        _compile(entry, flags)
    return entry / LIBRARY


def _check_made_here(entry: Path) -> None:
    """Refuse to replace what is no entry of the cache.

    Raises:
        StorageError: If it is a link or a file, or holds something else.
    """
    if not _is_made_here(entry):
        raise StorageError(
            f"{entry} is in the way, and it is {kind_of(entry)} that Carousel did not make: move "
            f"it away, or {_ELSEWHERE}"
        )


def _is_made_here(entry: Path) -> bool:
    files = list(entry.iterdir()) if is_plain_folder(entry) else []
    return bool(files) and all(p.name in (LIBRARY, SHA256) and is_plain_file(p) for p in files)


def key(flags: list[str]) -> str:
    """Return the name of the library that the sources give with these flags."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(repr((torch.__version__, platform.machine(), flags)).encode())
    return digest.hexdigest()[:32]


def is_whole(entry: Path) -> bool:
    """Return whether an entry is there and unharmed, to the byte, and nobody else can write it."""
    if any(map(distrust, (entry, entry / SHA256, entry / LIBRARY))):
        return False
    try:
        wanted = read_regular(entry / SHA256, POINTER_LIMIT).decode("ascii")
        library = read_regular(entry / LIBRARY, LIBRARY_LIMIT)
        return hashlib.sha256(library).hexdigest() == wanted
    except (OSError, ValueError):
        return False


def _compile(entry: Path, flags: list[str]) -> None:
    """Compile all sources side by side, link them, publish the library under its name."""
    compiler()  # is there one? before the line that says it begins
    _log.warning("compiling the CPU kernels, once for this processor: half a minute …")
    start = time.monotonic()
    with publishing(entry) as folder:
        compile_library(_SOURCES, flags, folder / LIBRARY)
        digest = hashlib.sha256((folder / LIBRARY).read_bytes()).hexdigest()
        (folder / SHA256).write_text(digest, encoding="ascii")
        for path in (folder, folder / LIBRARY, folder / SHA256):
            close_to_others(path)
    seconds = time.monotonic() - start
    _log.warning("compiled the CPU kernels in %.0f s; they are kept in %s", seconds, entry)
