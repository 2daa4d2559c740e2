"""The plot of forecasts: drawn from what there is, and named."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from carousel.inspection.forecasts import ForecastPicture, forecast_plot

RNG = np.random.default_rng(0)
N = 60
PICTURE = ForecastPicture(
    name="Passengers",
    labels=[f"day {k}" for k in range(N)],
    truth=RNG.normal(size=N),
    validation=range(40, 50),
    model="lstm",
    forecast=RNG.normal(size=20),
    baseline="last value",
    baseline_forecast=RNG.normal(size=20),
    ahead=RNG.normal(size=7),
)


def words(path: Path) -> set[str]:
    """Text is drawn as paths; matplotlib writes what they say as comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.strip()[5:-4] for line in lines if line.strip().startswith("<!-- ")}


def test_what_is_drawn_is_named(tmp_path: Path) -> None:
    forecast_plot(PICTURE, tmp_path / "forecast")
    said = words(tmp_path / "forecast.svg")
    legend = {"validation", "truth", "lstm", "last value", "ahead"}
    assert said >= {*legend, "Passengers", "day 40", "day 50"}
    assert any(text.startswith("+") for text in said), "rows beyond the end have no label"


@pytest.mark.parametrize("count", [0, 7, 31])
def test_no_row_is_named_that_is_not_there(tmp_path: Path, count: int) -> None:
    forecast_plot(replace(PICTURE, ahead=np.zeros(count)), tmp_path / "forecast")
    beyond = {int(text) for text in words(tmp_path / "forecast.svg") if text.startswith("+")}
    assert max(beyond, default=0) <= count
    assert bool(beyond) == bool(count)


@pytest.mark.parametrize("count", [0, 7])
def test_both_files_are_drawn(tmp_path: Path, count: int) -> None:
    forecast_plot(replace(PICTURE, ahead=PICTURE.ahead[:count]), tmp_path / "forecast")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast.png", "forecast.svg"]
    assert matplotlib.image.imread(tmp_path / "forecast.png").shape[-1] == 4
    assert ElementTree.parse(tmp_path / "forecast.svg").getroot().tag.endswith("svg")
    assert ("ahead" in words(tmp_path / "forecast.svg")) == bool(count)


def test_every_value_stands_where_it_belongs(tmp_path: Path) -> None:
    """Seen in the curves' points: rows are equally far apart, values go up."""
    forecast_plot(PICTURE, tmp_path / "forecast")
    curves = {len(points): points for points in map(np.array, drawn(tmp_path / "forecast.svg"))}
    # The truth from half a validation part before it; forecasts of 20 rows; 7 ahead of the last.
    assert set(curves) >= {25, 20, 8}
    truth, ahead = curves[25], curves[8]
    step = truth[1, 0] - truth[0, 0]
    np.testing.assert_allclose(np.diff(truth[:, 0]), step, atol=1e-3)
    np.testing.assert_allclose(np.diff(ahead[:, 0]), step, atol=1e-3)
    np.testing.assert_allclose(ahead[0], truth[-1], atol=1e-3)
    heights = [*truth[:, 1], *ahead[1:, 1]]
    values = [*PICTURE.truth[35:], *PICTURE.ahead]
    line = np.polyfit(values, heights, 1)
    np.testing.assert_allclose(np.polyval(line, values), heights, atol=1e-3)
    assert line[0] < 0, "down is positive in SVG"
    own = curves[20]  # of the model, drawn after the baseline
    np.testing.assert_allclose(own[:, 0], truth[5:, 0], atol=1e-3)
    np.testing.assert_allclose(np.polyval(line, PICTURE.forecast), own[:, 1], atol=1e-3)


def drawn(path: Path) -> list[list[tuple[float, float]]]:
    """The points of every path of more than five."""
    curves = []
    for element in ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}path"):
        numbers = element.attrib.get("d", "").replace("M", " ").replace("L", " ").split()
        if len(numbers) > 10 and all(
            n.replace(".", "").replace("-", "").isdigit() for n in numbers
        ):
            values = list(map(float, numbers))
            curves.append(list(zip(values[::2], values[1::2], strict=True)))
    return curves


def test_a_long_series_is_drawn_without_the_baseline_that_would_hide_it(tmp_path: Path) -> None:
    long = replace(
        PICTURE,
        labels=[str(k) for k in range(4000)],
        truth=RNG.normal(size=4000),
        validation=range(2800, 3400),
        forecast=RNG.normal(size=1200),
        baseline_forecast=RNG.normal(size=1200),
    )
    forecast_plot(long, tmp_path / "forecast")
    said = words(tmp_path / "forecast.svg")
    assert "last value" not in said
    assert {"lstm", "truth"} <= said


@pytest.mark.parametrize("name", ["US$ for A$", "金額", "a_b^c {x} \\y", "-"], ids=range(4))
def test_any_name_is_drawn_as_it_stands(tmp_path: Path, name: str) -> None:
    """Dollars enclose mathematics in matplotlib; what its font lacks is a box, and no warning."""
    labels = [f"{name} {k}" for k in range(N)]
    picture = replace(PICTURE, name=name, labels=labels, baseline=name, model=name)
    forecast_plot(picture, tmp_path / "forecast")
    if name != "-":  # "--" may not stand in a comment
        assert name in words(tmp_path / "forecast.svg")


def test_the_same_numbers_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        forecast_plot(PICTURE, tmp_path / name)
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_name_with_a_dot_keeps_it(tmp_path: Path) -> None:
    forecast_plot(PICTURE, tmp_path / "run.1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.1.png", "run.1.svg"]


@pytest.mark.filterwarnings("error")
def test_long_names_and_labels_leave_room_for_the_axes(tmp_path: Path) -> None:
    labels = [f"{label}{'x' * 100_000}\nand more" for label in PICTURE.labels]
    long = replace(PICTURE, name="n" * 100_000, labels=labels)
    forecast_plot(long, tmp_path / "forecast")
    assert max(map(len, words(tmp_path / "forecast.svg"))) <= 60
