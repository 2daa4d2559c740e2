"""The sweeps as pictures: what a character costs against length, batch and width."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from benchmarks.cases import AXES, GATES, PAIRED, REFERENCE, Family, counted
from benchmarks.figures import Session, Spread
from benchmarks.targets import cost_of_a_character
from carousel.inspection.figures import BLUE, ORANGE, drawn

_LABELS = {"length": "time steps, T", "batch": "sequences, B", "width": "units, H"}


def draw(session: Session, folder: Path) -> list[Path]:
    """Draw FAMILY-AXIS.png and .svg for what was swept in training; return their stems."""
    stems = []
    for family in GATES:
        for axis, label in _LABELS.items():
            letter = AXES[axis][0]
            curves = {
                way: cost_of_a_character(way, letter, family, "training", session.results)
                for way in PAIRED
            }
            if max(map(len, curves.values())) < 2:
                continue
            stems.append(folder / f"{family}-{axis}")
            with drawn(stems[-1]) as axes:
                _draw_curves(axes, curves)
                axes.set(xlabel=label, ylabel="µs a character, forward + backward")
                axes.legend(frameon=False, title=_title(session, family, letter))
    return stems


def _draw_curves(axes: Axes, curves: Mapping[str, Mapping[int, Spread]]) -> None:
    """Draw medians, and as bands the quartiles."""
    for way, curve in curves.items():
        colour, marker = (BLUE, "o") if way.startswith("fused") else (ORANGE, "s")
        line = "-" if way.endswith("bf16") else "--"
        sizes, spreads = list(curve), list(curve.values())
        medians = [spread.median for spread in spreads]
        axes.plot(sizes, medians, line, color=colour, marker=marker, markersize=4, label=way)
        lows, highs = [spread.low for spread in spreads], [spread.high for spread in spreads]
        axes.fill_between(sizes, lows, highs, color=colour, alpha=0.25, linewidth=0)
    every = sorted({size for curve in curves.values() for size in curve})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(every, [f"{size:,}" for size in every])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def _title(session: Session, family: Family, letter: str) -> str:
    """Return what is the same along the curves."""
    threads = max(r.case.threads for r in session.results if r.case.family == family)
    sizes = " ".join(f"{axis}{n}" for axis, n in REFERENCE._asdict().items() if axis != letter)
    return f"{family}, {sizes}, {counted(threads)}"
