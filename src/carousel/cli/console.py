"""Output that all commands share: the terminal, numbers, the machine."""

import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, cast

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from carousel.cli.terminal import LastingStream, bare, folded, one_line, printable
from carousel.plain_paths import readable
from carousel.threads import one_thread as one_thread
from carousel.threads import use_available_processors as use_available_processors
from carousel.training import devices


class VisibleConsole(Console):
    """A console of rich's whose own escapes reach the terminal, and nobody else's.

    Names hold no :emoji: and no [markup]. NO_COLOR leaves out all style, bold too.

    Args:
        stderr: Write to stderr, else to stdout.
        options: Further ones of rich's Console.
    """

    def __init__(self, *, stderr: bool, **options: Any) -> None:
        super().__init__(
            stderr=stderr,
            highlight=False,
            emoji=False,
            markup=False,
            color_system=None if os.environ.get("NO_COLOR") else "auto",
            **{"soft_wrap": True} | options,
        )

    @property
    def file(self) -> IO[str]:
        """The stream that rich writes to, its escapes with it."""
        return cast("IO[str]", LastingStream(bare(super().file)))

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream

    def print(self, *objects: Any, **how: Any) -> None:
        """Print; strings before rich leaves out controls or counts columns."""
        super().print(*(self._shown(o) if isinstance(o, str) else o for o in objects), **how)

    def print_line(self, text: str, style: str | None = None) -> None:
        r"""Print a text as one line, whatever names are in it: a line feed is shown as \n."""
        self.print(one_line(text), style=style, markup=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of what is printed, each for a terminal to show."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else self._shown(text), style, control)

    def _shown(self, text: str) -> str:
        return printable(text) if self.is_terminal else readable(text)


console = VisibleConsole(stderr=True)  # for everything but generated text and data


def duration(seconds: float) -> str:
    """Return seconds in the words people use: 8 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def nats(loss: float) -> str:
    """Return a loss with its unit, and bits beside it; both are per character."""
    return f"{loss:.4f} nats ({loss / math.log(2):.3f} bits)"


def rows(table: dict[str, str]) -> None:
    """Print names and what they mean, the names aligned, long lines folded on a terminal."""
    columns = min(console.width, 100) if console.is_terminal else 10_000
    for name, text in table.items():
        shown = printable(text) if console.is_terminal else readable(text)
        rest = folded(f"{name:<8} ", shown, columns).removeprefix(name)
        console.print(Text.assemble((name, "bold"), rest))


def can_redraw(target: Console) -> bool:
    """Return whether a console is a terminal that can redraw a line, as a progress bar needs."""
    return target.is_terminal and not target.is_dumb_terminal


def shell_word(text: str) -> str:
    r"""Return a text as it is to be typed; $'\x1b' in it where nobody could type a character."""
    if text == printable(text):
        return shlex.quote(text)
    return f"$'{''.join(map(_typed, text))}'"


def _typed(character: str) -> str:
    if character == printable(character) and character not in "\\'":
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


NARROW = 72  # columns; a terminal of fewer has no place for a bar and words beside it


def print_table(table: Table, columns: int) -> None:
    """Print a table to stdout, wider than these columns if need be: no figure is cut short."""
    needed = len(table.columns) - 1 + 2 * table.show_edge
    for column in table.columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        pieces = [p for cell in cells for p in (cell.split("\n" if column.no_wrap else None))]
        needed += max(map(cell_len, pieces)) + table.padding[1] + table.padding[3]
    VisibleConsole(stderr=False, width=max(columns, needed), soft_wrap=False).print(table)


def clock() -> float:
    """Return seconds that only ever grow."""
    return time.perf_counter()


def this_command() -> str:
    """Return how this program was called, so that what we suggest can be typed."""
    if shutil.which("carousel"):
        return "carousel"
    called = Path(sys.argv[0])
    if called.name != "carousel":
        return "python -m carousel"
    relative = os.path.relpath(called)
    return relative if len(relative) < len(str(called)) else str(called)


def peak_memory() -> int | None:
    """Return the most memory this process ever held, in bytes; None where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def choose_device(device: str) -> str:
    """Return the device to train on, with a note where it is slow.

    Raises:
        UsageError: If the device asked for is not there.
    """
    chosen = devices.choose_device(device)
    if chosen == "mps":
        console.print("note: recurrent cells are slower on mps than on the CPU", style="yellow")
    return chosen
