"""Every figure of math/ and notes/ is what its code draws, to the byte."""

import runpy
from pathlib import Path

import pytest

from conftest import ROOT

DRAW = runpy.run_path(str(ROOT / "math/draw.py"))
FOLDERS = DRAW["folders"]()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_figure_is_what_its_code_draws(folder: Path, tmp_path: Path) -> None:
    drawn = list(DRAW["draw"](folder, tmp_path))
    assert drawn
    for path in drawn:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_every_figure_has_code_that_draws_it() -> None:
    known = {
        folder / f"{name}.svg"
        for folder in FOLDERS
        for name in runpy.run_path(str(folder / "figures.py"))["FIGURES"]
    }
    assert {path for top in ("math", "notes") for path in (ROOT / top).rglob("*.svg")} == known
