"""Find the run that a command means."""

import json
import os
import re
from pathlib import Path

from carousel.cli.console import console
from carousel.errors import RunError
from carousel.input_files import CONFIG_LIMIT, POINTER_LIMIT, read_regular
from carousel.models.pretrained import ARTEFACTS, TELLER, by_name, shipped

RUNS = Path("runs")


def find_run(run: Path | None) -> Path:
    """Return the run asked for, or without one the newest in ./runs.

    The name of a model that ships means that model, unless a path has that name; it is also what
    is meant where nothing was trained yet.

    Raises:
        RunError: If there is none.
    """
    if run is None:
        if runs := _by_age(RUNS):
            console.print_line(f"note: {runs[-1]}, the newest run, is taken")
            return runs[-1]
        console.print(f"note: no run in {RUNS}/ yet, so {TELLER}, the model that ships, is taken")
        return ARTEFACTS / TELLER
    if (found := by_name(run)).exists():
        return found
    runs = _by_age(RUNS)
    known = ", ".join([*map(str, runs[-5:]), *shipped()])
    if len(runs) > 5:
        known += f", and {len(runs) - 5} older in {RUNS}/"
    raise RunError(f"no such run: {run}; there are {known}")


def shown(run: Path) -> str:
    """Return a run as a user would name it."""
    return run.name if run.parent == ARTEFACTS else str(run)


def run_name(name: str) -> str:
    """Return a name that a run may have after its text or table; say so where it is another."""
    if (safe := _safe(name)) != name:
        note = f"note: {name!r} cannot be the name of a run; the run is named after {safe!r}"
        console.print_line(note)
    return safe


def _safe(name: str) -> str:
    """Return a name that is one folder and no flag: not empty, not of dots, not with a - first."""
    safe = name.replace("/", "-").replace(os.sep, "-").lstrip("-")
    return safe if safe.strip(". ") else "text"


def new_run(name: str) -> Path:
    """Return the name after the last one taken: runs/NAME, else runs/NAME-2, and so on."""
    name = _safe(name)
    last = max(_numbers(name), default=0)
    path = RUNS / (f"{name}-{last + 1}" if last else name)
    while os.path.lexists(path):  # where A and a are one name
        last += 1
        path = RUNS / f"{name}-{last + 1}"
    return path


def newest_of(name: str, sha256: str) -> Path | None:
    """Return the last made of runs/NAME, runs/NAME-2, … that can go on with a text, or None.

    Their numbers say which that is; a clock that was set back would say otherwise. If all are of
    other texts it is the last of these: there the user learns why it cannot go on.
    """
    runs = sorted(_numbers(name).items())
    saved = [path for _, path in runs if (path / "last").is_file()]
    own = [path for path in saved if _text_of(path) in (sha256, None)]
    return next(reversed(own or saved), None)


def _text_of(run: Path) -> str | None:
    """Return the SHA-256 of the text that a run is of; None if its checkpoint does not say."""
    try:
        last = read_regular(run / "last", POINTER_LIMIT).decode("ascii").strip()
        path = run / "checkpoints" / last / "config.json"
        return str(json.loads(read_regular(path, CONFIG_LIMIT))["corpus"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _numbers(name: str) -> dict[int, Path]:
    """Return what there is of runs/NAME, runs/NAME-2, …, by number; runs/NAME is 1."""
    numbered = re.compile(re.escape(name) + r"-([2-9]|[1-9][0-9]+)")
    found = {
        int(match[1]): path for path in RUNS.glob("*") if (match := numbered.fullmatch(path.name))
    }
    first = RUNS / name
    return found | ({1: first} if os.path.lexists(first) else {})


def _by_age(folder: Path) -> list[Path]:
    """Return the runs in a folder that have a checkpoint, the last written to at the end."""
    saved = [path / "last" for path in folder.glob("*") if (path / "last").is_file()]
    return [last.parent for last in sorted(saved, key=lambda last: last.stat().st_mtime)]
