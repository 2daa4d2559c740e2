"""`carousel COMMAND …`: find the command, run it, turn what goes wrong into one line.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 nothing to compare with (bench --check); 129,
130 and 143 interrupted (a hangup, Ctrl-C, SIGTERM), training after saving.
"""

import errno
import os
import re
import sys
import traceback
from importlib import import_module
from typing import NoReturn

from carousel._version import __version__
from carousel.cli.streams import drop_output, open_streams
from carousel.cli.terminal import folded, one_line, visible_output, width
from carousel.errors import CarouselError, UsageError, shorten, shorten_words

COMMANDS = {
    "prepare": "turn a text into what training reads, or see to the cache of such",
    "train": "train a model on a text, or on the built-in tales",
    "sample": "let a trained model continue a prompt",
    "eval": "measure how well a model predicts a text",
    "serve": "open the story-teller in the browser",
    "forecast": "fit a model to a time series in a CSV file, and say what it is worth",
    "verify": "prove every family: exactly, numerically, and against torch.nn",
    "kernels": "compile the C++ kernels ahead of time, or say what runs on this machine",
    "bench": "measure speed and memory beside torch.nn (in a checkout)",
    "tales": "write the built-in tales, a corpus of known entropy",
}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except Exception:  # a fault of ours; its message may hold anything
        with visible_output():
            traceback.print_exc()
        code = 1
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    open_streams()
    with visible_output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    """Run one command, say in one line what is wrong, and return the exit code."""
    known = arguments[:1] and arguments[0] in COMMANDS
    prog = f"carousel {arguments[0]}" if known else "carousel"
    try:
        code = _command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has gone (`| head`): nothing is wrong, nothing to say
        drop_output()
        return 141
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except (CarouselError, OSError) as error:
        print(f"{prog}: {_explain(error)}", file=sys.stderr)
        if isinstance(error, OSError):
            drop_output()
        return 2 if isinstance(error, UsageError) else 1
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
            raise
        print(f"{prog}: out of memory: smaller sizes would work", file=sys.stderr)
        return 1
    except ImportError as error:  # a library that does not fit into the memory that is left
        if ".so" not in str(error):
            raise
        print(f"{prog}: a library cannot be loaded: {_explain(error)}", file=sys.stderr)
        return 1


def _command(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are the caller's."""
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    if arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"carousel {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"carousel: no command {shorten(repr(name))}; there are {known}", file=sys.stderr)
        return 2
    code: int = import_module(f"carousel.cli.{name}").main(rest)
    return code


# What torch says in a RuntimeError: CUDA and MPS, Linux, Windows, and a size beyond all bounds.
_OUT_OF_MEMORY = re.compile("out of memory|allocate memory|enough memory|calculation overflowed")


_LONGEST_LINE = 2000  # characters: room for several quotations


def _explain(error: Exception) -> str:
    """Return one line; an OSError names its file."""
    if isinstance(error, OSError) and error.errno == errno.EBADF and not error.filename:
        return "stdout is closed: there is nowhere to write to"
    if isinstance(error, OSError) and error.strerror:
        where = f": {one_line(os.fsdecode(error.filename))}" if error.filename else ""
        line = f"{error.strerror}{where}"
    else:
        line = one_line(re.sub(r"\s*\n\s*", " ", str(error).strip()))
    return shorten(shorten_words(line), _LONGEST_LINE)


_MORE = "carousel COMMAND --help explains a command; carousel --version names the version."


def _help() -> str:
    longest, columns = max(map(len, COMMANDS)), width(sys.stdout)
    lines = [folded(f"  {name:<{longest}}  ", text, columns) for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: carousel COMMAND …",
            "",
            "Character-level language models from first principles.",
            "",
            *lines,
            "",
            folded("", _MORE, columns),
        ]
    )
