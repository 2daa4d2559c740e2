"""The loss curve: drawn from what a run wrote, whatever that is."""

from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from carousel.inspection.curves import loss_curve, smooth

TRAIN = [{"step": k, "loss": 3.0 / k, "grad_norm": 1.0} for k in range(1, 30)]
VALIDATION = [{"step": k, "validation_loss": 3.2 / k} for k in (10, 20)]


@pytest.mark.parametrize("floor", [None, 0.0, 0.5])
@pytest.mark.parametrize("records", [[], TRAIN[:1], TRAIN, VALIDATION, TRAIN + VALIDATION], ids=len)
def test_both_files_are_drawn(tmp_path: Path, records: list[dict], floor: float | None) -> None:
    loss_curve(iter(records), tmp_path / "loss", floor=floor)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.png", "loss.svg"]
    assert matplotlib.image.imread(tmp_path / "loss.png").ndim == 3
    assert ElementTree.parse(tmp_path / "loss.svg").getroot().tag.endswith("svg")


def test_what_is_drawn_is_named(tmp_path: Path) -> None:
    loss_curve(TRAIN + VALIDATION, tmp_path / "loss", floor=0.125)
    # Text is drawn as paths; matplotlib writes what they say as comments.
    svg = (tmp_path / "loss.svg").read_text()
    for words in ("training", "validation", "best possible: 0.125", "step", "nats per character"):
        assert f"<!-- {words} -->" in svg


def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        loss_curve(TRAIN + VALIDATION, tmp_path / name, floor=0.125)
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_run_whose_name_has_a_dot_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "run.1").mkdir()
    loss_curve(TRAIN, tmp_path / "run.1" / "loss", floor=None)
    assert (tmp_path / "run.1" / "loss.png").is_file()


@pytest.mark.parametrize("count", [1, 2, 99, 100, 1234])
def test_smooth_is_the_mean_of_the_neighbours(count: int) -> None:
    losses = np.random.default_rng(0).normal(size=count)
    r = count // 100
    means = [losses[max(0, k - r) : k + r + 1].mean() for k in range(count)]
    np.testing.assert_allclose(smooth(losses), means, atol=1e-12)
