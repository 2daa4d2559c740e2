"""The table of versions: which pairs run, what is remembered, and what ends with exit code 1."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import ROOT
from tools import test_versions, version_environments
from tools.version_environments import Outcome, Pair, counts, find_python

REPORT = '<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>'
VERSIONS = ("3.14.2", "2.15.0+cpu")


def test_errors_count_as_failures() -> None:
    assert counts(REPORT) == Outcome(passed=3, failed=3, skipped=3)


def test_the_default_pairs_are_those_declared() -> None:
    assert [pair.name for pair in test_versions.default_pairs()] == ["oldest", "pinned", "newest"]
    assert test_versions.default_pairs()[0] == Pair("oldest", "3.11", "2.11.0")
    assert test_versions.default_pairs()[2] == Pair("newest", "3.14", "")


def test_the_tested_paths_exist() -> None:
    paths = [path for part in test_versions.PARTS.values() for path in part]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_interpreters_are_found_and_missing_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "{}.{}".format(*sys.version_info)
    broken = tmp_path / f"python{version}"  # as a shim of pyenv, whose version is not chosen
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    folder = tmp_path / "versions" / f"{version}.1" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python(version) == str(folder / "python")
    assert find_python("3.99") is None


def test_a_missing_interpreter_is_named_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(test_versions, "find_python", lambda version: None)
    assert test_versions.main(["--only", "newest", "--folder", str(tmp_path)]) == 1
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("| newest | 3.14 | newest | 0 | 0 | 0 | 0 |")
    assert last.endswith("no Python 3.14 on the PATH, in pyenv or in uv")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that run, in environments that are only pretended; training fails once."""
    found: list[str] = []

    def run_tests(venv: Path, part: str, paths: Sequence[str]) -> Outcome:
        found.append(part)
        is_failing = part == "training" and found.count(part) == 1
        return Outcome(passed=5, failed=int(is_failing), skipped=1, seconds=2.0)

    def install(venv: Path, python: str, torch: str) -> str:
        venv.mkdir(exist_ok=True)
        return ""

    monkeypatch.setattr(test_versions, "find_python", lambda version: "python")
    monkeypatch.setattr(test_versions, "is_installed", lambda venv: False)
    monkeypatch.setattr(test_versions, "install", install)
    monkeypatch.setattr(test_versions, "installed_versions", lambda venv: VERSIONS)
    monkeypatch.setattr(test_versions, "build_kernels", lambda venv: None)
    monkeypatch.setattr(test_versions, "run_tests", run_tests)
    return found


def test_a_second_run_repeats_what_failed_alone(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "newest", "--folder", str(tmp_path)]
    assert test_versions.main(arguments) == 1
    assert runs == list(test_versions.PARTS)
    assert "| newest | 3.14.2 | 2.15.0+cpu | 25 | 1 | 5 | 10 |" in capsys.readouterr().out
    runs[:] = ["training"]
    assert test_versions.main(arguments) == 0
    assert runs == ["training", "training"]
    assert "| newest | 3.14.2 | 2.15.0+cpu | 25 | 0 | 5 | 10 |" in capsys.readouterr().out


def test_changed_files_and_versions_are_tested_again(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--only", "newest", "--parts", "kernels", "--folder", str(tmp_path)]
    for _ in range(2):
        assert test_versions.main(arguments) == 0
    assert runs == ["kernels"]
    monkeypatch.setattr(test_versions, "installed_versions", lambda venv: ("3.14.2", "2.16.0"))
    assert test_versions.main(arguments) == 0
    assert runs == ["kernels"] * 2
    monkeypatch.setattr(test_versions, "fingerprint", lambda names: "changed")
    assert test_versions.main(arguments) == 0
    assert runs == ["kernels"] * 3


def test_a_newest_torch_older_than_one_tested_is_noted(
    runs: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(test_versions, "installed_versions", lambda venv: ("3.14.2", "2.14.1"))
    test_versions.main(["--only", "newest", "--parts", "kernels", "--folder", str(tmp_path)])
    assert "note: pip offers torch 2.14.1 as the newest, but 2.15" in capsys.readouterr().out


def test_pytest_runs_in_the_environment_and_a_crash_is_no_pass(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    if sys.prefix != sys.base_prefix:
        (tmp_path / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    found = version_environments.run_tests(tmp_path, "part", ["tests/no_such_test.py"])
    assert (found.passed, found.failed) == (0, 0)
    assert found.error.startswith("pytest ended with exit code ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--pair", "3.13"], "--pair must be PYTHON:TORCH, such as 3.13:2.14.1; got '3.13'"),
        (["--parts", "layer"], "--parts: no part 'layer'; there are nn, checkpoints"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], line: str) -> None:
    command = [sys.executable, str(ROOT / "tools/test_versions.py"), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(line)
    assert run.stderr.count("\n") == 1


# A folder is removed only if the tool made it.


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(version_environments.subprocess, "run", lambda *_, **__: done)


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize("content", ["letter.txt", version_environments.MARK])
def test_a_folder_of_the_user_s_is_neither_removed_nor_filled(tmp_path: Path, content: str) -> None:
    venv = tmp_path / "python3.12-torch2.13.0"
    venv.mkdir()
    (venv / content).write_text("theirs")
    assert "this tool did not make it" in version_environments.install(venv, "python", "2.13.0")
    assert [path.read_text() for path in venv.iterdir()] == ["theirs"]


@pytest.mark.usefixtures("no_pip")
def test_a_link_in_the_place_of_an_environment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to("theirs")
    assert "did not make it" in version_environments.install(tmp_path / "link", "python", "")
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.usefixtures("no_pip")
def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "environments" / "one"
    assert version_environments.install(venv, "python", "") == ""
    (venv / "complete").unlink()  # as a kill leaves it
    (venv / "half").write_text("installed")
    assert version_environments.install(venv, "python", "") == ""
    assert not (venv / "half").exists()
    assert version_environments.is_made_here(venv)


@pytest.mark.usefixtures("no_pip")
def test_an_environment_of_another_checkout_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its carousel would be the other checkout's, and the table would be of the wrong code."""
    venv = tmp_path / "one"
    version_environments.install(venv, "python", "")
    assert version_environments.is_installed(venv)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (other / name).write_bytes((version_environments.ROOT / name).read_bytes())
    monkeypatch.setattr(version_environments, "ROOT", other)
    assert not version_environments.is_installed(venv)
