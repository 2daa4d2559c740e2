"""The figures of math/lstm/core_problems: one cell as data flow."""

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE

TOP, MIDDLE, GATES, BELOW = 5.0, 3.6, 2.2, 0.7  # heights: the cell, what is added, gates, inputs
GATE_PLACES = {"f": 2.2, "i": 3.9, "g": 5.5, "o": 7.6}


def cell(axes: Axes) -> None:
    """Draw the cell: the carousel along the top, the gates below it, x and h under them."""
    axes.set_axis_off()
    axes.set_xlim(0, 11)
    axes.set_ylim(0.2, 5.9)
    axes.set_aspect("equal")
    f, i, g, o = (GATE_PLACES[gate] for gate in "figo")

    # The carousel.
    arrow(axes, (0.9, TOP), (f - 0.28, TOP), ORANGE, 2.5)
    arrow(axes, (f + 0.28, TOP), (4.7 - 0.28, TOP), ORANGE, 2.5)
    arrow(axes, (4.7 + 0.28, TOP), (10.0, TOP), ORANGE, 2.5)
    node(axes, (f, TOP), "×", ORANGE)
    node(axes, (4.7, TOP), "+", ORANGE)
    text(axes, (0.8, TOP), "c(t−1)", ORANGE, ha="right")
    text(axes, (10.1, TOP), "c(t)", ORANGE, ha="left")
    text(axes, (4.7, 5.62), "the direct path: nothing on it but f", ORANGE)

    # What is added.
    node(axes, (4.7, MIDDLE), "×", GREEN)
    arrow(axes, (4.7, MIDDLE + 0.28), (4.7, TOP - 0.28), GREEN)
    line(axes, [(i, GATES + 0.3), (i, MIDDLE), (4.7 - 0.28, MIDDLE)], GREEN)
    line(axes, [(g, GATES + 0.3), (g, MIDDLE), (4.7 + 0.28, MIDDLE)], GREEN)
    arrow(axes, (f, GATES + 0.3), (f, TOP - 0.28), ORANGE)

    # What is shown.
    line(axes, [(9.0, TOP), (9.0, 4.55)], BLUE)
    box(axes, (9.0, 4.3), "tanh", BLUE, 0.45)
    node(axes, (9.0, 3.2), "×", BLUE)
    line(axes, [(9.0, 4.05), (9.0, 3.2 + 0.28)], BLUE)
    line(axes, [(o, GATES + 0.3), (o, 3.2), (9.0 - 0.28, 3.2)], BLUE)
    arrow(axes, (9.0 + 0.28, 3.2), (10.0, 3.2), BLUE, 2.5)
    text(axes, (10.1, 3.2), "h(t)", BLUE, ha="left")

    # The gates, and what they read.
    kinds = {"f": "forget", "i": "input", "g": "candidate", "o": "output"}
    for gate, place in GATE_PLACES.items():
        colour = {"f": ORANGE, "i": GREEN, "g": GREEN, "o": BLUE}[gate]
        box(axes, (place, GATES), f"{gate} = {'tanh' if gate == 'g' else 'σ'}", colour, 0.62)
        axes.text(place, GATES - 0.48, kinds[gate], color=colour, ha="center", va="top", fontsize=9)
        line(axes, [(place, BELOW), (place, GATES - 1.0)], INK, head=False)
        arrow(axes, (place, GATES - 1.0), (place, GATES - 0.78), INK)
    axes.plot([1.0, o], [BELOW, BELOW], color=INK, linewidth=1.5)
    axes.plot([1.0, 1.0], [BELOW - 0.25, BELOW + 0.25], color=INK, linewidth=1.5)
    text(axes, (0.8, BELOW + 0.25), "h(t−1)", INK, ha="right")
    text(axes, (0.8, BELOW - 0.25), "x(t)", INK, ha="right")
    text(axes, (8.0, BELOW), "each reads both, through its own weights", INK, ha="left", size=9)


def text(
    axes: Axes,
    place: tuple[float, float],
    words: str,
    colour: str,
    ha: str = "center",
    size: int = 11,
) -> None:
    """Write words."""
    axes.text(*place, words, color=colour, ha=ha, va="center", fontsize=size)


def node(axes: Axes, place: tuple[float, float], sign: str, colour: str) -> None:
    """Draw a circle with a sign in it."""
    axes.add_patch(Circle(place, 0.28, fill=False, edgecolor=colour, linewidth=1.8))
    axes.text(*place, sign, color=colour, ha="center", va="center_baseline", fontsize=14)


def box(axes: Axes, place: tuple[float, float], name: str, colour: str, half: float) -> None:
    """Draw a box with a name in it."""
    x, y = place
    style = "round,pad=0.02,rounding_size=0.1"
    axes.add_patch(
        FancyBboxPatch(
            (x - half, y - 0.25),
            2 * half,
            0.5,
            boxstyle=style,
            fill=False,
            edgecolor=colour,
            linewidth=1.8,
        )
    )
    text(axes, place, name, colour, size=10)


def arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    width: float = 1.5,
) -> None:
    """Draw an arrow."""
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=look)


def line(axes: Axes, places: list[tuple[float, float]], colour: str, head: bool = True) -> None:
    """Draw a line with corners, and an arrow's head on its last piece."""
    straight = places[:-1] if head else places
    if len(straight) > 1:
        axes.plot(*zip(*straight, strict=True), color=colour, linewidth=1.5)
    if head:
        arrow(axes, places[-2], places[-1], colour)


FIGURES = {"cell": (cell, (9.0, 4.8))}
