"""Forecasts against the truth, as PNG and SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE, drawn, mark_whole_numbers

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ForecastPicture:
    """The curves of a forecast plot, over the rows of a series.

    Attributes:
        name: What the values are.
        labels: N texts, such as dates, one for each row.
        truth: (N,).
        validation: Rows of the validation part; the test part is what follows.
        model: Name of the model.
        forecast: (K,), of the last K rows, each from the truth before it.
        baseline: Name of a baseline.
        baseline_forecast: (K,), of the same rows.
        ahead: (M,), of the rows after the last, each from the forecasts before it.
    """

    name: str
    labels: Sequence[str]
    truth: Array
    validation: range
    model: str
    forecast: Array
    baseline: str
    baseline_forecast: Array
    ahead: Array


def forecast_plot(picture: ForecastPicture, stem: Path) -> None:
    """Draw the validation part, shaded, the test part and what lies ahead to STEM.png and .svg."""
    count, validation = len(picture.truth), picture.validation
    rows = np.arange(count - len(picture.forecast), count)
    # Some of the training part, so that what was learned from can be seen.
    start = max(0, validation.start - len(validation) // 2)
    is_dense = count - start > 300
    thin = 0.9 if is_dense else 1.6
    with drawn(stem, (8.4, 4.2)) as axes:
        axes.axvspan(
            validation.start - 0.5,
            validation.stop - 0.5,
            color=INK,
            alpha=0.12,
            linewidth=0,
            label="validation",
        )
        if not is_dense:  # else it would hide the truth, which it follows
            axes.plot(
                rows,
                picture.baseline_forecast,
                color=GREEN,
                linewidth=0.7 * thin,
                linestyle=":",
                label=picture.baseline,
            )
        axes.plot(
            np.arange(start, count), picture.truth[start:], color=INK, linewidth=thin, label="truth"
        )
        axes.plot(rows, picture.forecast, color=ORANGE, linewidth=thin, label=picture.model)
        if len(picture.ahead):
            axes.plot(
                np.arange(count - 1, count + len(picture.ahead)),
                np.concatenate([picture.truth[-1:], picture.ahead]),
                color=BLUE,
                linewidth=thin,
                label="ahead",
            )
        axes.set_xlim(start - 0.5, count + len(picture.ahead) - 0.5)
        mark_whole_numbers(axes, 7)
        axes.xaxis.set_major_formatter(lambda row, place: _label(picture.labels, row))
        axes.set_ylabel(_cut(picture.name, 60))
        axes.legend(
            frameon=False,
            fontsize=9,
            ncols=5,
            columnspacing=1.4,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderpad=0,
        )


def _label(labels: Sequence[str], row: float) -> str:
    """Name a row; those after the last by how far they lie ahead."""
    place = round(row)
    if place < 0:
        return ""
    return _cut(labels[place], 24) if place < len(labels) else f"+{place - len(labels) + 1}"


def _cut(text: str, limit: int) -> str:
    """Return a text that fits beside the axes: what does not leaves no room for them."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
