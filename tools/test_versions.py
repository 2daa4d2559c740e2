"""Run the main tests on several versions of Python and torch, and print a table.

    python tools/test_versions.py                    # all pairs, as make test-versions
    python tools/test_versions.py --only newest
    python tools/test_versions.py --pair 3.13:2.14.1 --parts kernels,nn

Each pair gets its own virtual environment with this checkout and its `dev` extra, the other
dependencies as in constraints.txt. Environments and results are kept in a cache folder outside the
checkout: a second run installs nothing again, and repeats only the parts that failed, were
interrupted, or whose files changed. pip is called as the user has configured it. Exit code 1: a
test failed, or a pair could not run.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # to run as a script

from tools.version_environments import (
    ROOT,
    SOURCES,
    Outcome,
    Pair,
    build_kernels,
    environment_folder,
    find_python,
    fingerprint,
    install,
    installed_versions,
    is_installed,
    run_tests,
)

PARTS = {  # what runs on each pair
    "nn": ("tests/ops", "tests/nn", "tests/test_from_scratch.py"),
    "checkpoints": ("tests/models", "tests/test_artefacts.py"),
    "kernels": ("tests/kernels", "tests/test_torch_internals.py"),
    "training": ("tests/training",),
    "server": ("tests/generation", "tests/server"),
}
GIGABYTES = 2.7  # downloaded with torch's default build for Linux, its CUDA libraries included


class Row(NamedTuple):
    """A line of the table: a pair, the versions that ran, and the outcome of all its parts."""

    pair: Pair
    python: str
    torch: str
    outcome: Outcome


def default_pairs() -> list[Pair]:
    """Return the oldest supported versions, those pinned for the project, and the newest."""
    oldest = _declared(r'"torch>=([\d.]+)"', "pyproject.toml")
    pinned = _declared(r"^torch==([\d.]+)", "constraints.txt")
    return [
        Pair("oldest", "3.11", f"{oldest}.0"),
        Pair("pinned", "3.12", pinned),
        Pair("newest", "3.14", ""),
    ]


def _declared(pattern: str, file: str) -> str:
    match = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise SystemExit(f"{file} has no line that matches {pattern}")
    return match.group(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Install and test each pair, print the table after each, and return the exit code."""
    options = _parse(arguments)
    pairs, parts = chosen_pairs(options), chosen_parts(options.parts)
    folder: Path = options.folder
    pythons = {pair: find_python(pair.python) for pair in pairs}
    missing = [pair for pair in pairs if not is_installed(environment_folder(folder, pair))]
    print(f"{len(pairs) - len(missing)} of {len(pairs)} environments are complete, in {folder}")
    if count := sum(pythons[pair] is not None for pair in missing):
        print(f"installing {count} downloads about {count * GIGABYTES:.1f} GB if torch's builds")
        print("with CUDA are fetched, less from an index of CPU builds (PIP_EXTRA_INDEX_URL)")
    rows: list[Row] = []
    for pair in pairs:
        python = pythons[pair]
        rows.append(run_pair(pair, python, parts, folder) if python else without_python(pair))
        print("\n".join(["", *table(rows), ""]), flush=True)
    return 1 if any(row.outcome.failed or row.outcome.error for row in rows) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [pair.name for pair in default_pairs()]
    add = parser.add_argument
    add("--only", choices=names, action="append", help="run this pair alone; may be repeated")
    add("--pair", action="append", metavar="PYTHON:TORCH", help="run these versions instead")
    add("--parts", default=",".join(PARTS), help="parts of the tests (default: %(default)s)")
    add("--folder", type=Path, default=_cache_folder(), help="of the environments and results")
    return parser.parse_args(arguments)


def chosen_pairs(options: argparse.Namespace) -> list[Pair]:
    """Return the pairs that the options name; all default pairs if they name none.

    Raises:
        SystemExit: If a --pair is not PYTHON:TORCH.
    """
    pairs: list[Pair] = []
    for text in options.pair or []:
        match = re.fullmatch(r"(3\.\d+):(\d+\.\d+\.\d+)", text)
        if match is None:
            raise SystemExit(f"--pair must be PYTHON:TORCH, such as 3.13:2.14.1; got {text!r}")
        pairs.append(Pair(text, *match.groups()))
    defaults = default_pairs()
    names = options.only or ([] if pairs else [pair.name for pair in defaults])
    return [*pairs, *(pair for pair in defaults if pair.name in names)]


def chosen_parts(text: str) -> list[str]:
    """Return parts of the tests from a list with commas.

    Raises:
        SystemExit: If there is no such part.
    """
    parts = text.split(",")
    for part in parts:
        if part not in PARTS:
            raise SystemExit(f"--parts: no part {part!r}; there are {', '.join(PARTS)}")
    return parts


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "carousel-test-versions"


def without_python(pair: Pair) -> Row:
    """Return the row of a pair whose interpreter is missing."""
    error = f"no Python {pair.python} on the PATH, in pyenv or in uv"
    return Row(pair, pair.python, pair.torch or "newest", Outcome(error=error))


def run_pair(pair: Pair, python: str, parts: Iterable[str], folder: Path) -> Row:
    """Install a pair unless it is there, and run the parts that have not passed on these files."""
    venv = environment_folder(folder, pair)
    if not pair.torch or not is_installed(venv):  # there may be a newer torch than last time
        print(f"{pair.name}: Python {pair.python}, torch {pair.torch or 'newest'}: pip install …")
        if error := install(venv, python, pair.torch):
            return Row(pair, pair.python, pair.torch or "newest", Outcome(error=error))
    versions = installed_versions(venv)
    if not pair.torch:
        _note_older(versions[1])
    build_kernels(venv)
    outcomes = [_remembered(f"{pair.name}: {part}", venv, part, versions) for part in parts]
    return Row(pair, *versions, total(outcomes))


def _note_older(torch: str) -> None:
    """Say so if the newest torch that pip offers is older than one that was tested before."""
    tested = _declared(r'NEWEST_TESTED = "[\d.]+", "([\d.]+)"', "src/carousel/torch_internals.py")
    if [int(n) for n in torch.split(".")[:2]] < [int(n) for n in tested.split(".")]:
        print(f"note: pip offers torch {torch} as the newest, but {tested} is known to exist;")
        print("a constraint may hold it back (pip config list)")


def _remembered(name: str, venv: Path, part: str, versions: tuple[str, str]) -> Outcome:
    """Run a part, or return its outcome if it passed before on the same files and versions."""
    path, key = venv / "results.json", [*versions, fingerprint(SOURCES)]
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if results.get(part, {}).get("key") == key:
        print(f"{name} passed before on these files", flush=True)
        return Outcome(**results[part]["outcome"])
    print(f"{name} …", flush=True)
    outcome = run_tests(venv, part, PARTS[part])
    if outcome.failed or outcome.error:
        reason = outcome.error or f"{outcome.failed} failed"
        print(f"{name}: {reason}; see {venv / part}.log", flush=True)
    else:
        results[part] = {"key": key, "outcome": outcome._asdict()}
        path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return outcome


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """Add up the parts of a pair."""
    passed, failed, skipped, seconds, errors = zip(*outcomes, strict=True)
    return Outcome(
        sum(passed), sum(failed), sum(skipped), sum(seconds), "; ".join(filter(None, errors))
    )


def table(rows: Iterable[Row]) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| pair | Python | torch | passed | failed | skipped | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair, python, torch, outcome in rows:
        counts = f"{outcome.passed} | {outcome.failed} | {outcome.skipped} | {outcome.seconds:.0f}"
        error = f" {outcome.error}" if outcome.error else ""
        lines.append(f"| {pair.name} | {python} | {torch} | {counts} |{error}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
