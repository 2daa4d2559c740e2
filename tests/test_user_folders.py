"""Where caches stand for a user without a home, or with one that cannot be written."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from carousel import user_folders
from carousel.errors import StorageError
from carousel.kernels import build
from carousel.user_folders import explain_unwritable, user_cache_folder

VARIABLES = ("HOME", "XDG_CACHE_HOME", "CAROUSEL_CACHE", "CAROUSEL_KERNEL_CACHE", "MPLCONFIGDIR")
NOBODY = 54321  # a user that no list knows
HELP = "this user has no home folder: let CAROUSEL_CACHE name a folder for the cache that can be"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is set, and the list of users has a home."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(user_folders, "_listed_home", lambda: "/listed")


@pytest.mark.parametrize("home", [None, "", ".", "relative/home"])
def test_a_home_that_is_not_absolute_does_not_count(
    home: str | None, listed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert user_cache_folder() == Path("/listed/.cache/carousel")
    monkeypatch.setattr(user_folders, "_listed_home", lambda: "")
    with pytest.raises(StorageError, match=f"^{HELP}"):
        user_cache_folder()


def test_a_relative_xdg_cache_home_does_not_count(
    listed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert user_cache_folder() == Path("/listed/.cache/carousel")


@pytest.mark.parametrize("chosen", ["~", "~/caches"])
def test_a_chosen_folder_in_a_home_that_is_not_there_is_explained(
    chosen: str, listed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", chosen)
    assert build.cache_folder() == Path("/listed") / chosen[2:]
    monkeypatch.setattr(user_folders, "_listed_home", lambda: "")
    with pytest.raises(StorageError, match=f"^CAROUSEL_KERNEL_CACHE is '{chosen}', and this user"):
        build.cache_folder()


def test_the_home_of_an_unknown_user_is_explained(
    listed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", "~no-such-user/caches")
    with pytest.raises(StorageError, match=r"CAROUSEL_CACHE .* no such user: name"):
        user_cache_folder()


@pytest.mark.parametrize("where", ["cache/entry", "cache", "."])
def test_what_cannot_be_written_is_explained(where: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / where))
    with (
        pytest.raises(StorageError, match=r"cache cannot be written \(Permission denied\): do so$"),
        explain_unwritable(cache, "do so"),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/elsewhere/text.txt"),
        OSError(errno.ENOSPC, "No space left on device", "/caches/entry"),
        OSError(errno.EACCES, "Permission denied"),
    ],
)
def test_other_errors_stay_what_they_are(error: OSError) -> None:
    with pytest.raises(OSError) as caught, explain_unwritable(Path("/caches"), "do so"):  # noqa: PT011
        raise error
    assert caught.value is error


def as_nobody(cwd: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom no list knows, with nothing but these variables."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    paths = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    return subprocess.run(
        ["unshare", "--user", f"--map-user={NOBODY}", *command],
        cwd=cwd,
        env={**kept, "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
    )


needs_nobody = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "--user", f"--map-user={NOBODY}", "true"], capture_output=True
    ).returncode
    != 0,
    reason="needs `unshare --user`: user namespaces",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that anybody may write, with a text."""
    (tmp_path / "t.txt").write_text("the owl sang to the moon\n" * 80)
    return tmp_path


TINY = (
    *("--steps", "3", "--embedding-size", "4", "--hidden-size", "8", "--batch-size", "2"),
    *("--sequence-length", "8", "--threads", "1", "--sample-every", "0"),
)
COMMANDS = {
    "prepare": ("prepare", "t.txt"),
    "train": ("train", "t.txt", "--out", "r", *TINY),
}
OTHERS = {
    "train": (*COMMANDS["train"], "--cache-dir", "c"),
    "sample": ("sample", "story", "--length", "20"),
    "kernels status": ("kernels", "status"),
}


def carousel(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as nobody, without kernels: compiling them takes a minute."""
    program = (sys.executable, "-m", "carousel", *command)
    return as_nobody(folder, *program, CAROUSEL_KERNELS="off", **variables)


@needs_nobody
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_without_a_home_a_command_that_needs_a_cache_says_what_helps(
    command: tuple[str, ...], folder: Path
) -> None:
    result = carousel(folder, *command)
    assert result.returncode == 1
    line = result.stderr.strip().splitlines()[-1]
    assert line == f"carousel {command[0]}: {HELP} written"
    helped = carousel(folder, *command, CAROUSEL_CACHE="c")
    assert helped.returncode == 0, helped.stderr


@needs_nobody
@pytest.mark.parametrize("command", OTHERS.values(), ids=OTHERS)
def test_without_a_home_the_other_commands_work(command: tuple[str, ...], folder: Path) -> None:
    result = carousel(folder, *command)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@needs_nobody
def test_training_needs_no_home_that_can_be_written(folder: Path) -> None:
    result = carousel(folder, *OTHERS["train"], HOME="/proc/no-such-home")
    assert result.returncode == 0, result.stderr
    assert (folder / "r" / "loss.png").is_file()


@needs_nobody
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, HELP),
        ({"HOME": "/proc/none"}, "let CAROUSEL_KERNEL_CACHE name a folder that can be"),
        ({"XDG_CACHE_HOME": "/proc/none"}, "let CAROUSEL_KERNEL_CACHE name a folder that can be"),
        ({"CAROUSEL_KERNEL_CACHE": "~/k"}, "CAROUSEL_KERNEL_CACHE is '~/k', and this user has no"),
    ],
)
def test_without_a_home_a_layer_runs_and_says_what_would_help(
    variables: dict[str, str], expected: str, folder: Path
) -> None:
    code = "import torch, carousel; print(carousel.LSTM(4, 8)(torch.randn(5, 6, 4))[0].shape)"
    result = as_nobody(folder, sys.executable, "-c", code, **variables)
    assert result.stdout == "torch.Size([5, 6, 8])\n", result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("no CPU kernels, the layers run without: ")
    assert expected in line


@needs_nobody
def test_a_home_that_cannot_be_written_says_what_helps(folder: Path) -> None:
    result = carousel(folder, "prepare", "t.txt", HOME="/proc/none")
    assert result.returncode == 1
    assert result.stderr.startswith(
        "carousel prepare: /proc/none/.cache/carousel cannot be written"
    )
    assert result.stderr.endswith("name another folder with --cache-dir or CAROUSEL_CACHE\n")
