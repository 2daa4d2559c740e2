"""How every figure looks: readable on white and on black, the same bytes for the same numbers."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carousel.files import write_durably
from carousel.inspection.matplotlib_defaults import ignore_configuration

with ignore_configuration():
    import matplotlib
    from matplotlib.axes import Axes as Axes  # for other modules too
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

# The figure is transparent, its ink of middle grey.
INK, BLUE, ORANGE, GREEN = "#808080", "#4c9be8", "#e8833a", "#3aa76d"

# Characters that XML 1.0 (section 2.2) does not allow, escaped or not.
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextmanager
def drawn(
    stem: Path, size: tuple[float, float] = (7.2, 4.2), endings: Sequence[str] = ("png", "svg")
) -> Iterator[Axes]:
    """Yield axes to draw on; then write STEM.png and STEM.svg.

    Args:
        stem: Path without ending.
        size: Width and height in inches.
        endings: Of what is written.
    """
    with warnings.catch_warnings():
        # What the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        with matplotlib.rc_context(_settings()):
            # Without pyplot: no backend is looked up, and no hook of a configuration is called.
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.subplots()
            yield axes
            axes.tick_params(colors=INK)
            axes.xaxis.label.set_color(INK)
            axes.yaxis.label.set_color(INK)
            axes.grid(color=INK, alpha=0.2)
            for spine in axes.spines.values():
                spine.set_visible(False)
            for ending in endings:
                metadata = {"Date": None} if ending == "svg" else None
                path, data = stem.with_name(f"{stem.name}.{ending}"), io.BytesIO()
                figure.savefig(data, format=ending, dpi=150, transparent=True, metadata=metadata)
                content = _well_formed(data.getvalue()) if ending == "svg" else data.getvalue()
                write_durably(path, content)  # a link of this name is not followed


def mark_whole_numbers(axes: Axes, most: int) -> None:
    """Set ticks at whole numbers of the horizontal axis, at least one and at most `most`."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True))


def _settings() -> Any:
    """Return matplotlib's defaults and what differs from them, whatever this process has set."""
    defaults = {name: v for name, v in matplotlib.rcParamsDefault.items() if name != "backend"}
    return {
        **defaults,
        "svg.hashsalt": "carousel",
        "font.size": 10,
        "text.color": INK,
        "text.parse_math": False,  # a dollar is a dollar
    }


def _well_formed(svg: bytes) -> bytes:
    """Replace what a user's name of a column may have and XML may not."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", svg.decode()).encode()
