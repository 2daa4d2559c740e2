"""Figures of math/mlp; drawn by math/draw.py."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from carousel.inspection.figures import BLUE, INK, ORANGE


def window(axes: Axes) -> None:
    """A window of four tokens: a matrix for each place, nothing for what is further back."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.6, 9.6)
    axes.set_ylim(-1.5, 3.75)
    for place, token in enumerate("the key "):
        inside = place >= 4
        color = BLUE if inside else INK
        box(axes, place, 0, token.replace(" ", "␣"), color)
        if inside:
            arrow(axes, (place, 0.42), (5.5 + (place - 5.5) * 0.45, 1.36), BLUE)
            axes.text(
                place, -0.75, f"W({place - 4})", color=BLUE, ha="center", va="center", fontsize=9
            )
    axes.add_patch(Rectangle((3.5, -0.5), 4, 1, fill=False, edgecolor=BLUE, linewidth=1.6))
    axes.text(1.5, 0.75, "no arrow: influence 0", color=INK, ha="center")
    axes.text(1.5, -0.75, "before the window", color=INK, ha="center")
    axes.text(5.5, -1.3, "n = 4 tokens", color=BLUE, ha="center")
    axes.add_patch(Rectangle((4.4, 1.4), 2.2, 0.62, fill=False, edgecolor=INK, linewidth=1.5))
    axes.text(5.5, 1.71, "hidden layer h", color=INK, ha="center", va="center", fontsize=9)
    arrow(axes, (5.5, 2.05), (5.5, 2.72), ORANGE)
    axes.text(5.7, 2.36, "U", color=ORANGE, ha="left", va="center")
    axes.text(5.5, 3.05, "what comes next?", color=ORANGE, ha="center", va="center")
    arrow(axes, (7.75, 0), (9.2, 0), INK)
    axes.text(8.45, 0.2, "slides", color=INK, ha="center", fontsize=9)


def box(axes: Axes, x: float, y: float, token: str, color: str) -> None:
    """Draw a token in its box."""
    axes.add_patch(Rectangle((x - 0.38, y - 0.38), 0.76, 0.76, fill=False, edgecolor=color))
    axes.text(x, y, token, color=color, ha="center", va="center", fontsize=12)


def arrow(axes: Axes, tail: tuple[float, float], head: tuple[float, float], color: str) -> None:
    """Draw an arrow from tail to head."""
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.4}
    axes.add_patch(FancyArrowPatch(tail, head, color=color, shrinkA=0, shrinkB=0, **style))


FIGURES = {"window": (window, (7.2, 3.5))}
