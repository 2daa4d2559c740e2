"""Figures of notes/: where the gradient stops, and what a temperature does."""

import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE
from carousel.ops.sampling import apply_temperature, log_probabilities

LOGITS = torch.tensor([4.0, 3.0, 2.5, 1.0, 0.0], dtype=torch.float64)


def truncated(axes: Axes) -> None:
    """Draw three windows: the state crosses their borders, the gradient does not."""
    axes.set_axis_off()
    axes.set_xlim(-0.8, 12.4)
    axes.set_ylim(-1.5, 1.3)
    for window in range(3):
        left = 4 * window
        box = FancyBboxPatch(
            (left - 0.42, -0.75),
            3.84,
            1.45,
            boxstyle="round,pad=0.02,rounding_size=0.15",
            edgecolor=INK,
            facecolor="none",
            linestyle="--",
        )
        axes.add_patch(box)
        axes.text(left + 1.5, 0.9, f"window {window + 1}", color=INK, ha="center")
        for place in range(left, left + 4):
            axes.plot(place, 0, "o", markersize=17, color=INK, fillstyle="none")
            axes.text(place, 0, f"h{place + 1}", color=INK, ha="center", va="center", fontsize=8)
            _arrow(axes, (place, 0.12), (place + 1, 0.12), BLUE, 0.35)
            if place > left:
                _arrow(axes, (place, -0.12), (place - 1, -0.12), ORANGE, 0.35)
        if window:
            axes.text(left - 0.5, -0.36, "×", color=ORANGE, ha="center", va="center", fontsize=15)
    axes.text(0, -1.3, "→ state, carried on", color=BLUE)
    axes.text(5, -1.3, "← gradient, stopped at × ", color=ORANGE)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, bend: float
) -> None:
    arrow = {
        "arrowstyle": "-|>",
        "color": colour,
        "connectionstyle": f"arc3,rad={-bend}",
        "shrinkA": 6,
        "shrinkB": 6,
        "linewidth": 1.4,
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow)


def temperature(axes: Axes) -> None:
    """Draw five probabilities against the temperature, and the entropy of all."""
    temperatures = torch.logspace(-1, 1.3, 120, dtype=torch.float64)
    p = torch.stack(
        [apply_temperature(log_probabilities(LOGITS), float(t)) for t in temperatures]
    ).exp()
    for token, values in enumerate(p.T):
        label = "probabilities" if token == 0 else None
        axes.plot(temperatures, values, color=BLUE, label=label, alpha=1 - 0.1 * token)
    entropy = -(p * p.clamp(min=1e-300).log()).sum(-1)
    most = torch.log(torch.tensor(float(len(LOGITS))))
    axes.plot(temperatures, entropy / most, color=ORANGE, label="entropy / log V")
    axes.axhline(1 / len(LOGITS), color=GREEN, linestyle=":", label="1 / V")
    axes.axvline(1, color=INK, linewidth=0.8, linestyle="--")
    axes.text(1.05, 0.94, "the model's own", color=INK, fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axes.minorticks_off()
    axes.set_xlabel("temperature")
    axes.legend(loc="center left", labelcolor=INK, frameon=False)


FIGURES = {"truncated": (truncated, (7.2, 2.1)), "temperature": (temperature, (7.2, 4.0))}
