"""Which run a command means."""

from pathlib import Path

from carousel.errors import RunError

RUNS = Path("runs")


def find_run(run: Path | None) -> Path:
    """Return the run asked for, or without one the newest in ./runs.

    Raises:
        RunError: If there is none.
    """
    if run is not None:
        if not run.exists():
            known = ", ".join(str(path) for path in _by_age(RUNS)[-5:])
            raise RunError(f"no such run: {run}" + (f"; there are {known}" if known else ""))
        return run
    if not (runs := _by_age(RUNS)):
        raise RunError(f"no run in {RUNS}/ yet: `carousel train` makes one")
    return runs[-1]


def new_run(name: str) -> Path:
    """Return the first name that is free: runs/NAME, else runs/NAME-2, and so on."""
    path, k = RUNS / name, 2
    while path.exists():
        path, k = RUNS / f"{name}-{k}", k + 1
    return path


def newest_of(name: str) -> Path | None:
    """Return the newest of runs/NAME, runs/NAME-2, …, or None."""
    mine = [
        path
        for path in _by_age(RUNS)
        if path.name == name or path.name.removeprefix(f"{name}-").isdigit()
    ]
    return mine[-1] if mine else None


def _by_age(folder: Path) -> list[Path]:
    """Return the runs in a folder that have a checkpoint, the newest last."""
    saved = [path / "last" for path in folder.glob("*") if (path / "last").is_file()]
    return [last.parent for last in sorted(saved, key=lambda last: last.stat().st_mtime)]
