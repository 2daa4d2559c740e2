"""Virtual environments with one version of Python and of torch each, and pytest in them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "tests", "pyproject.toml")  # a change repeats the tests


# Written into a folder before anything else: only what has it is ever removed.
MARK, MARKED = "carousel-environment", "made by tools/version_environments.py\n"


class Pair(NamedTuple):
    """A version of Python and one of torch; torch is empty for the newest that pip offers."""

    name: str
    python: str
    torch: str


class Outcome(NamedTuple):
    """What tests came to; error says why pytest did not finish, and is empty if it did."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    error: str = ""


def environment_folder(folder: Path, pair: Pair) -> Path:
    """Return the folder of a pair's virtual environment."""
    return folder / f"python{pair.python}-torch{pair.torch or '-newest'}"


def is_made_here(venv: Path) -> bool:
    """Tell whether `install` made a folder: it is empty, or has the mark; a link is refused."""
    if venv.is_symlink() or not venv.is_dir():
        return False
    mark = venv / MARK
    if mark.is_symlink() or not mark.is_file():
        return not any(venv.iterdir())
    return mark.stat().st_size == len(MARKED) and mark.read_text(encoding="ascii") == MARKED


def is_installed(venv: Path) -> bool:
    """Tell whether an environment has this checkout and the dependencies that it declares now."""
    try:
        return (venv / "complete").read_text(encoding="ascii") == _contents()
    except OSError:
        return False


def _contents() -> str:
    """Return a hash of this checkout's path and the dependencies that it declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = (str(ROOT), project["dependencies"], project["optional-dependencies"], _pins())
    return hashlib.sha256(os.fsencode(repr(declared))).hexdigest()


def _pins() -> list[str]:
    """Return the lines of constraints.txt but that of torch."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if not line.startswith("torch==")]


def find_python(version: str) -> str | None:
    """Return an interpreter of a version such as "3.12": from the PATH, pyenv or uv; else None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    of_pyenv = sorted(pyenv.glob(f"{version}.*/bin/python"), key=_numbers, reverse=True)
    on_path = [str(Path(folder) / f"python{version}") for folder in os.get_exec_path()]
    candidates = [*on_path, *map(str, of_pyenv), *_of_uv(version)]
    return next((name for name in candidates if _version(name) == version), None)


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", path.parts[-3])]


def _of_uv(version: str) -> list[str]:
    uv = shutil.which("uv")
    if uv is None:
        return []
    command = [uv, "python", "find", "--no-python-downloads", version]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def _version(python: str) -> str | None:
    """Return an interpreter's version; None if it does not start, as a shim of pyenv may not."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        run = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def install(venv: Path, python: str, torch: str) -> str:
    """Make an environment with this checkout, or bring one up to date.

    A folder that this tool did not mark is neither removed nor filled.

    Returns:
        Which command failed, or what is in the way; "" if all went well.
    """
    is_new = not (venv / "complete").exists()
    if is_new and os.path.lexists(venv) and not is_made_here(venv):
        return f"{venv} is in the way: this tool did not make it"
    if is_new:
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir(parents=True)
        (venv / MARK).write_text(MARKED, encoding="ascii")
    constraints = venv / "constraints.txt"
    constraints.write_text("".join(_pins()), encoding="utf-8")
    pip = [_python(venv), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-U"]
    wanted = f"torch=={torch}" if torch else "torch"
    commands = [[*pip, "-c", str(constraints), wanted, "-e", f"{ROOT}[dev]"]]
    if is_new:
        commands.insert(0, [python, "-m", "venv", str(venv)])
    for command in commands:
        if subprocess.run(command, check=False).returncode != 0:
            return f"{' '.join(command[1:4])} failed"
    (venv / "complete").write_text(_contents(), encoding="ascii")
    return ""


def installed_versions(venv: Path) -> tuple[str, str]:
    """Return the versions of Python and torch in an environment."""
    code = "import platform, torch; print(platform.python_version(), torch.__version__)"
    run = subprocess.run([_python(venv), "-c", code], capture_output=True, text=True, check=True)
    python, torch = run.stdout.split()
    return python, torch


def _python(venv: Path) -> str:
    return str(venv / ("Scripts" if sys.platform == "win32" else "bin") / "python")


def build_kernels(venv: Path) -> None:
    """Compile the C++ kernels ahead, so that no test is timed out by the compiler.

    If it fails, the line that says why is printed; the tests then run, and fail, without kernels.
    """
    command = [_python(venv), "-m", "carousel", "kernels", "build"]
    subprocess.run(command, cwd=ROOT, env=_variables(), check=False)


def run_tests(venv: Path, name: str, paths: Sequence[str]) -> Outcome:
    """Run tests in an environment; NAME.log there has the output, NAME.xml the report."""
    report, log = venv / f"{name}.xml", venv / f"{name}.log"
    report.unlink(missing_ok=True)
    command = [_python(venv), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    start = time.monotonic()
    with log.open("wb") as output:
        code = subprocess.run(
            [*command, f"--junitxml={report}", *paths],
            cwd=ROOT,
            env=_variables(),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    seconds = time.monotonic() - start
    outcome = counts(report.read_text(encoding="utf-8")) if report.exists() else Outcome()
    outcome = outcome._replace(seconds=seconds)
    if code != 0 and not outcome.failed:
        return outcome._replace(error=f"pytest ended with exit code {code}")
    return outcome


def _variables() -> dict[str, str]:
    """Return the environment without what could bring in packages of another environment."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def counts(report: str) -> Outcome:
    """Count the tests of a JUnit report; an error in a fixture counts as a failure."""
    suites = list(ElementTree.fromstring(report).iter("testsuite"))
    every, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Outcome(every - failed - skipped, failed, skipped)


def fingerprint(names: Iterable[str]) -> str:
    """Return a hash of files and folders of the checkout, without what programs leave there."""
    digest = hashlib.sha256()
    for path in sorted(path for name in names for path in _files(ROOT / name)):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    ignored = re.compile(r"__pycache__|node_modules|.*\.egg-info")
    return (
        file
        for file in path.rglob("*")
        if file.is_file() and not any(map(ignored.fullmatch, file.relative_to(ROOT).parts))
    )
