"""Every figure of math/, notes/ and docs/ is what its code draws, to half a point of the page.

Another processor sums in another order, so the last digits of what is drawn differ: figures are
compared as data. Half a point (1/144 inch) is less than a third of a line's width.
"""

import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest

from conftest import ROOT

DRAW = runpy.run_path(str(ROOT / "math/draw.py"))
FOLDERS = DRAW["folders"]()
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
POINTS = 0.5


def assert_same_drawing(got: str, want: str, name: str) -> None:
    """Compare two SVG files: the same words, and every number within half a point."""
    assert NUMBER.split(got) == NUMBER.split(want), f"{name} has other words, lines or labels"
    numbers = zip(NUMBER.findall(got), NUMBER.findall(want), strict=True)
    furthest = max(abs(float(a) - float(b)) for a, b in numbers)
    assert furthest < POINTS, f"{name} differs by {furthest:.2f} points"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_figure_is_what_its_code_draws(folder: Path, tmp_path: Path) -> None:
    drawn = list(DRAW["draw"](folder, tmp_path))
    assert drawn
    for path in drawn:
        got, want = (file.read_text("utf-8") for file in (path, folder / path.name))
        assert_same_drawing(got, want, path.name)


def test_a_line_that_moved_a_label_and_a_colour_are_seen() -> None:
    figure = (ROOT / "math/rnn/vanishing.svg").read_text("utf-8")
    line = re.findall(r"<path d=\"M [^\"]{800,}\"", figure)[0]
    vertices = re.findall(r"[\d.]+ [\d.]+", line)
    x, y = vertices[7].split()
    moved = line.replace(vertices[7], f"{x} {float(y) + 0.6}")
    changes = [(line, moved), ("#4c9be8", "#4c9be9"), (vertices[9], "")]
    for old, new in changes:
        with pytest.raises(AssertionError):
            assert_same_drawing(figure.replace(old, new, 1), figure, "it")
    nearly = line.replace(vertices[7], f"{x} {float(y) + 0.4}")
    assert_same_drawing(figure.replace(line, nearly), figure, "it")
    assert all(a != b for a, b in pairwise(vertices))


def test_every_figure_has_code_that_draws_it() -> None:
    known = {
        folder / f"{name}.svg"
        for folder in FOLDERS
        for name in runpy.run_path(str(folder / "figures.py"))["FIGURES"]
    }
    assert {
        path for top in ("math", "notes", "docs") for path in (ROOT / top).rglob("*.svg")
    } == known
