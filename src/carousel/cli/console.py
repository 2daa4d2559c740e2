"""What every command says the same way: the terminal, numbers, the machine."""

import math
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.markup import escape

from carousel.errors import UsageError
from carousel.machine import available_memory, compute_threads

# Everything but generated text and data goes to stderr. NO_COLOR leaves out all style, bold too.
console = Console(
    stderr=True,
    highlight=False,
    soft_wrap=True,
    color_system=None if os.environ.get("NO_COLOR") else "auto",
)


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
    width = min(console.width, 100) - 9 if console.is_terminal else 10_000
    for name, text in table.items():
        folded = wrap(text, width, break_long_words=False, break_on_hyphens=False)
        console.print(f"[bold]{name:<8}[/bold] {escape(f'{chr(10)}{9 * chr(32)}'.join(folded))}")


def printable(line: str) -> str:
    """Replace characters that a terminal would obey, but for tabs."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_obeyed(c) else c for c in line)


def _is_obeyed(character: str) -> bool:
    """Tell what moves the cursor, recolours or renames the terminal, or turns the writing round."""
    is_control = unicodedata.category(character) == "Cc" and character != "\t"
    return is_control or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


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


def use_available_processors() -> None:
    """Compute with no more threads than there are processors for them, or OMP_NUM_THREADS asks for.

    torch counts the processors in the affinity mask, and knows nothing of a container's quota.
    """
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), compute_threads()))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: products of single rows are too small to share."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory() -> int | None:
    """Return the most memory this process ever held, in bytes; None where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_of(device: str) -> int | None:
    """Return the bytes of memory of a device; None where nobody says."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory
    return available_memory()


def choose_device(device: str) -> str:
    """Turn auto into CUDA where there is one, else the CPU.

    Raises:
        UsageError: If the device asked for is not there.
    """
    import torch

    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    if device == "cuda" and not has_cuda:
        raise UsageError("--device cuda: this torch sees no CUDA device; --device cpu works")
    if device == "mps" and not has_mps:
        raise UsageError("--device mps: this machine has no Apple GPU; --device cpu works")
    if device == "mps":
        console.print("note: recurrent cells are slower on mps than on the CPU", style="yellow")
    return device
