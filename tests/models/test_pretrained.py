"""What ships is found by its name, unless a path has that name."""

from pathlib import Path

import pytest

import carousel
from carousel.errors import CheckpointError
from carousel.models.checkpoint import load_model
from carousel.models.pretrained import ARTEFACTS, TELLER, by_name, shipped


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped()[TELLER] == ARTEFACTS / TELLER == by_name(Path(TELLER))
    Path(TELLER).mkdir()
    assert by_name(Path(TELLER)) == Path(TELLER)


def test_from_python_it_is_loaded_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_model(Path("story")).folder == ARTEFACTS / TELLER
    assert len(carousel.load("story").generate("Once", length=20)) == 20
    with pytest.raises(CheckpointError, match="no such run or checkpoint: runs/nosuch"):
        carousel.load("runs/nosuch")


def test_every_exported_name_is_there_and_listed() -> None:
    assert dir(carousel) == sorted(carousel.__all__)
    assert all(getattr(carousel, name) is not None for name in carousel.__all__)
