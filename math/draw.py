"""Draw the figures of math/, notes/ and docs/ again.

python math/draw.py [FOLDER …]

A folder's figures.py holds FIGURES: for each NAME.svg beside it a function that draws on the axes
it is given, and the size in inches. What is stored is what the code draws, to half a point: held by
tests/pages/test_page_figures.py.
"""

# ruff: noqa: T201 - a script that says what it drew

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from carousel.inspection.figures import drawn

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Draw the figures of the folders that are named, or of all, where they stand."""
    for folder in map(Path, sys.argv[1:]) if sys.argv[1:] else folders():
        for path in draw(folder, folder):
            print(path)


def folders() -> list[Path]:
    """Return the folders that have figures."""
    return sorted(
        path.parent
        for top in ("math", "notes", "docs")
        for path in (ROOT / top).rglob("figures.py")
    )


def draw(folder: Path, into: Path) -> Iterator[Path]:
    """Draw a folder's figures into another (or the same), and yield their paths."""
    for name, (function, size) in runpy.run_path(str(folder / "figures.py"))["FIGURES"].items():
        with drawn(into / name, size, ("svg",)) as axes:
            function(axes)
        yield into / f"{name}.svg"


if __name__ == "__main__":
    main()
