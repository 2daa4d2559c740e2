"""The loss curve of a run, as PNG and SVG."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carousel.inspection.figures import BLUE, GREEN, ORANGE, Axes, drawn


def loss_curve(records: Iterable[Mapping[str, Any]], stem: Path, *, floor: float | None) -> None:
    """Draw training and validation loss against the step into STEM.png and STEM.svg.

    Args:
        records: Lines of metrics.jsonl: {step, loss} or {step, validation_loss}.
        stem: Path without ending.
        floor: The least possible validation loss, where it is known.
    """
    with drawn(stem) as axes:
        draw_losses(axes, records, floor=floor)


def draw_losses(axes: Axes, records: Iterable[Mapping[str, Any]], *, floor: float | None) -> None:
    """Draw training and validation loss against the step on axes; see `loss_curve`."""
    records = list(records)
    train = [(r["step"], r["loss"]) for r in records if "loss" in r]
    validation = [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    if train:
        steps, losses = np.array(train).T
        axes.plot(steps, losses, color=BLUE, alpha=0.3, linewidth=0.8)
        axes.plot(steps, smooth(losses), color=BLUE, linewidth=1.6, label="training")
    if validation:
        axes.plot(
            *np.array(validation).T,
            "o-",
            color=ORANGE,
            markersize=3,
            linewidth=1.6,
            label="validation",
        )
    if floor is not None:
        axes.axhline(
            floor,
            color=GREEN,
            linestyle="--",
            linewidth=1.4,
            label=f"best possible: {floor:.3f}",
        )
    shown = [loss for _, loss in [*train, *validation]] + ([] if floor is None else [floor])
    if shown:
        axes.set_ylim(bottom=max(0.0, 0.9 * min(shown)))
        axes.legend(frameon=False)
    axes.set(xlabel="step", ylabel="nats per character")


def smooth(losses: np.ndarray) -> np.ndarray:
    """Return the mean of each value's neighbours on both sides, 2 % of the values in all."""
    window = np.ones(min(len(losses), 2 * (len(losses) // 100) + 1))
    return np.convolve(losses, window, "same") / np.convolve(np.ones_like(losses), window, "same")
