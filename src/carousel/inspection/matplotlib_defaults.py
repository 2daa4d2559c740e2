"""Import matplotlib as it is delivered: no file and no variable of its user configures it.

Matplotlib reads the first of ./matplotlibrc, the file that MATPLOTLIBRC names and one in the user's
configuration folder, when it is imported. Such a file can name functions to be called and, in some
versions, hold code. The current folder may be somebody else's, and a figure is to be the same
bytes for the same numbers, so none of them is read, and neither is MPLBACKEND.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE = "matplotlibrc"  # what matplotlib looks for in the current folder before all else
_VARIABLES = {"MATPLOTLIBRC": os.devnull, "MPLBACKEND": ""}  # no settings; no backend


@contextmanager
def ignore_configuration() -> Iterator[None]:
    """Hide all configuration from a first import of matplotlib in this block.

    Environment and current folder are put back at the end. The folder is left only if it has a
    file of matplotlib's: where that file is cannot be said to matplotlib.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    try:
        if os.path.lexists(_FILE):
            with _away():
                yield
        else:
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _away() -> Iterator[None]:
    """Change to the folder of this module for the block, and back."""
    here: str | int = Path.cwd().as_posix()
    if hasattr(os, "fchdir"):
        with suppress(OSError):  # a folder that may be entered, not listed
            here = os.open(".", os.O_RDONLY)
    os.chdir(Path(__file__).parent)
    try:
        yield
    finally:
        os.chdir(here)
        if isinstance(here, int):
            os.close(here)
