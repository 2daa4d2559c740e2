"""Recognise the folders that Carousel itself writes, by what is in them.

Such a folder may stand in a folder of texts: `carousel train .` writes its run below it. It is no
part of the text, which would be another one at each step.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carousel.input_files import ENTRY_LIMIT, MANIFEST_LIMIT, MARK_LIMIT, read_regular
from carousel.plain_paths import is_plain_file, is_plain_folder

MARK, KIND = "carousel-run.json", "carousel run"  # of a run, see training/run_mark.py

_HASH = re.compile(r"[0-9a-f]{32,64}")
_LOCK = re.compile(r"([0-9a-f]{32,64}|stdin-[0-9]+)\.lock")
_FORECAST = {"forecast.csv", "forecast.json", "forecast.png", "forecast.svg"}


def kind_of_output(folder: Path) -> str | None:
    """Return what a folder is if Carousel writes such folders, as a message says it; else None.

    A folder that is damaged or of a later format is recognised all the same.
    """
    return next((kind for kind, is_it in _KINDS.items() if is_it(folder)), None)


def is_name_of_lock(name: str) -> bool:
    """Return whether a file has the name of a lock of Carousel's caches."""
    return _LOCK.fullmatch(name) is not None


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return what the mark of a run says; None if there is none, or it is not Carousel's."""
    about = _table(folder / MARK, MARK_LIMIT)
    if about is None or about.get("kind") != KIND:
        return None
    return about if isinstance(about.get("format"), int) else None


def _is_checkpoint(folder: Path) -> bool:
    files = (_table(folder / "manifest.json", MANIFEST_LIMIT) or {}).get("files")
    if not isinstance(files, dict) or not {"config.json", "model.safetensors"} <= set(files):
        return False
    return all(isinstance(row, dict) and {"bytes", "sha256"} <= set(row) for row in files.values())


def _is_prepared_text(folder: Path) -> bool:
    if not _HASH.fullmatch(folder.name):
        return False
    about = _table(folder / "corpus.json", ENTRY_LIMIT) or {}
    return {"version", "sha256", "checksums"} <= set(about)


def _is_stamps(folder: Path) -> bool:
    names = os.listdir(folder) if folder.name == "stamps" and is_plain_folder(folder) else []  # noqa: PTH208
    return bool(names) and all(_HASH.fullmatch(name) for name in names if name[0] != ".")


def _is_library(folder: Path) -> bool:
    return all(is_plain_file(folder / name) for name in ("kernels.so", "sha256"))


def _is_forecast(folder: Path) -> bool:
    return is_plain_file(folder / "forecast.json") and set(os.listdir(folder)) == _FORECAST  # noqa: PTH208


def _table(path: Path, limit: int) -> dict[str, Any] | None:
    """Return a small JSON table of a file that is no link; None if it is anything else."""
    try:
        about = json.loads(read_regular(path, limit)) if is_plain_file(path) else None
    except (OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) else None


_KINDS: dict[str, Callable[[Path], bool]] = {
    "a run": lambda folder: read_mark(folder) is not None,
    "a checkpoint": _is_checkpoint,
    "a prepared text": _is_prepared_text,
    "stamps of prepared texts": _is_stamps,
    "compiled kernels": _is_library,
    "a forecast": _is_forecast,
}
