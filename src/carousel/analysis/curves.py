"""The loss curve of a run, as PNG and SVG."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Readable on white and on black: the figure is transparent, its ink of middle grey.
_INK, _TRAIN, _VALIDATION, _FLOOR = "#808080", "#4c9be8", "#e8833a", "#3aa76d"


def loss_curve(records: Iterable[Mapping[str, Any]], stem: Path, *, floor: float | None) -> None:
    """Draw training and validation loss against the step into STEM.png and STEM.svg.

    Args:
        records: Lines of metrics.jsonl: {step, loss} or {step, validation_loss}.
        stem: Path without ending.
        floor: The least possible validation loss, where it is known.
    """
    records = list(records)
    train = [(r["step"], r["loss"]) for r in records if "loss" in r]
    validation = [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    with plt.rc_context({"svg.hashsalt": "carousel", "font.size": 10, "text.color": _INK}):
        figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
        if train:
            steps, losses = np.array(train).T
            axes.plot(steps, losses, color=_TRAIN, alpha=0.3, linewidth=0.8)
            axes.plot(steps, smooth(losses), color=_TRAIN, linewidth=1.6, label="training")
        if validation:
            axes.plot(
                *np.array(validation).T,
                "o-",
                color=_VALIDATION,
                markersize=3,
                linewidth=1.6,
                label="validation",
            )
        if floor is not None:
            axes.axhline(
                floor,
                color=_FLOOR,
                linestyle="--",
                linewidth=1.4,
                label=f"best possible: {floor:.3f}",
            )
        drawn = [loss for _, loss in [*train, *validation]] + ([] if floor is None else [floor])
        if drawn:
            axes.set_ylim(bottom=max(0.0, 0.9 * min(drawn)))
            axes.legend(frameon=False)
        axes.set(xlabel="step", ylabel="nats per character")
        axes.tick_params(colors=_INK)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        axes.grid(color=_INK, alpha=0.2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for ending in ("png", "svg"):
            metadata = {"Date": None} if ending == "svg" else None
            figure.savefig(
                stem.with_suffix(f".{ending}"), dpi=150, transparent=True, metadata=metadata
            )
        plt.close(figure)


def smooth(losses: np.ndarray) -> np.ndarray:
    """Return the mean of each value's neighbours on both sides, 2 % of the values in all."""
    window = np.ones(min(len(losses), 2 * (len(losses) // 100) + 1))
    return np.convolve(losses, window, "same") / np.convolve(np.ones_like(losses), window, "same")
