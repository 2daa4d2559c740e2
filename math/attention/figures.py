"""Figures of math/attention/: what large scores do to softmax, and how far apart positions are."""

import torch
from matplotlib.axes import Axes

from carousel.inspection.figures import BLUE, INK, ORANGE
from carousel.ops.softmax import softmax

POSITIONS = 8


def saturation(axes: Axes) -> None:
    """Draw the largest weight, and the slope, against the features of a key."""
    sizes = [2**n for n in range(1, 11)]
    drawn = [_weights(size) for size in sizes]
    for power, colour, name in ((0.0, ORANGE, "q·k"), (0.5, BLUE, "q·k / √K")):
        p = [softmax(scores / size**power) for scores, size in zip(drawn, sizes, strict=True)]
        largest = [float(weights.amax(-1).mean()) for weights in p]
        slope = [float(1 - weights.square().sum(-1).median()) for weights in p]
        axes.plot(sizes, largest, color=colour, marker="o", markersize=4, label=f"largest, {name}")
        axes.plot(sizes, slope, color=colour, linestyle="--", label=f"slope, {name}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[1::2], [f"{size:,}" for size in sizes[1::2]])
    axes.set_xlabel("features of a key, K")
    axes.set_ylabel("largest weight (mean), 1 − Σ p² (median)")
    axes.legend(loc="center right", labelcolor=INK, frameon=False)


def _weights(size: int) -> torch.Tensor:
    """Return the scores of 200 random queries, (200, 64)."""
    generator = torch.Generator().manual_seed(size)
    q = torch.randn(200, 1, size, generator=generator, dtype=torch.float64)
    k = torch.randn(200, 64, size, generator=generator, dtype=torch.float64)
    return (q * k).sum(-1)


def path_lengths(axes: Axes) -> None:
    """Draw the ways from the first position to the last, along a recurrence and by attention."""
    axes.set_axis_off()
    axes.set_xlim(-0.7, POSITIONS - 0.3)
    axes.set_ylim(-0.6, 4.6)
    for height, text in ((3.0, "recurrence: 7 steps"), (0.0, "attention: 1 step")):
        axes.text(-0.4, height + 1.15, text, color=INK, fontsize=11)
        for place in range(POSITIONS):
            axes.plot(place, height, "o", markersize=16, color=INK, fillstyle="none")
            axes.text(place, height, str(place + 1), color=INK, ha="center", va="center")
    for place in range(POSITIONS - 1):
        _arrow(axes, (place, 3.0), (place + 1, 3.0), ORANGE, "arc3")
        _arrow(axes, (place, 0.0), (POSITIONS - 1, 0.0), BLUE, "arc3,rad=-0.28")


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str
) -> None:
    arrow = {
        "arrowstyle": "-|>",
        "color": colour,
        "connectionstyle": style,
        "shrinkA": 9,
        "shrinkB": 9,
        "linewidth": 1.4,
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow)


FIGURES = {"saturation": (saturation, (7.2, 4.0)), "path-lengths": (path_lengths, (7.2, 3.4))}
