"""A text of any size: memory does not grow with it, and training does not slow down."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgets import torture, torture_only
from carousel.machine import available_processors
from carousel.tales import tell
from conftest import ROOT

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux counts anonymous memory"
)

MEGABYTE, GIGABYTE = 10**6, 10**9


def write_tales(path: Path, size: int) -> None:
    """Write at least so many bytes: tales, told again and again with a number in between.

    Texts of all sizes have the same alphabet, so that models of the same size learn them.
    """
    tales = tell(0, MEGABYTE).text.encode()
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(b"0123456789 %d\n\n" % file.tell() + tales)


def write_line(path: Path, size: int) -> None:
    """Write a single line without an end, with characters of more than a byte."""
    words = tell(0, 4 * MEGABYTE).text.replace("\n", " ").replace("e", "é").encode()
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(words)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied at once: pytest would keep those of its last runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def measured(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "data" / "measuring.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    sys.stdout.write(f"{arguments[0]} {figures}\n")
    return figures


@pytest.mark.serial
@pytest.mark.parametrize("write", [write_tales, write_line])
def test_preparing_holds_little_of_the_text(write: Any, folder: Path) -> None:
    write(folder / "a.txt", 150 * MEGABYTE)
    made = measured("prepare", folder / "cache", folder / "a.txt")
    assert made["grown"] < 40 * MEGABYTE + 40 * MEGABYTE * min(available_processors(), 8)
    found = measured("prepare", folder / "cache", folder / "a.txt")
    assert found["sha256"] == made["sha256"]


def test_training_holds_nothing_of_the_text(folder: Path) -> None:
    write_tales(folder / "large.txt", 100 * MEGABYTE)
    write_tales(folder / "small.txt", MEGABYTE)
    arguments = (folder / "cache", folder / "large.txt", folder / "small.txt")
    measured("prepare", *arguments[:2])
    assert measured("train", *arguments, 20)["grown"] < 600 * MEGABYTE


@torture
@torture_only
@pytest.mark.timeout(2400)
def test_five_gigabytes(folder: Path) -> None:
    """Takes 11 GB of disk; pytest -s shows the figures.

    Seconds on the clock count only where nothing else is at work when it begins.
    """
    is_alone = os.getloadavg()[0] < 0.7
    if shutil.disk_usage(folder).free < 12 * GIGABYTE:
        pytest.skip("takes 12 GB of disk")
    large, small, cache = folder / "large.txt", folder / "small.txt", folder / "cache"
    write_line(large, GIGABYTE)
    line = measured("prepare", cache, large)
    assert line["documents"] == 1
    assert line["grown"] < 600 * MEGABYTE
    shutil.rmtree(cache)
    write_tales(large, 5 * GIGABYTE)
    write_tales(small, MEGABYTE)
    size = large.stat().st_size
    made = measured("prepare", cache, large)
    assert made["characters"] == size
    assert made["grown"] < 600 * MEGABYTE
    assert size / made["cpu_seconds"] >= 50 * MEGABYTE
    if is_alone:
        assert size / made["seconds"] >= 50 * MEGABYTE * min(available_processors(), 2)
    trained = measured("train", cache, large, small, 2000)
    assert trained["grown"] < 600 * MEGABYTE
    assert all(0.95 <= ratio <= 1.05 for ratio in trained["speed"].values())
