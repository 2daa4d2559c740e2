"""Which folder the results of a benchmark may be written to."""

import json
from pathlib import Path

from carousel.errors import RunError

NAMES = ("figures.json", "decoding.json", "serving.json")  # by each is a folder of results known


def check_results_folder(folder: Path, shown: str) -> None:
    """Refuse a folder that is neither new, nor empty, nor one of results.

    Results are known by a JSON file that names the machine they were measured on.

    Args:
        folder: Where results are to be written; those of before are replaced.
        shown: What a message calls it.

    Raises:
        RunError: If it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not any(map(_is_ours, _files(folder))):
        raise RunError(f"{shown} is not empty and holds no results of a benchmark; name another")


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in NAMES]


def _is_ours(path: Path) -> bool:
    try:
        about = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(about, dict) and "machine" in about
