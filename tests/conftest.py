"""Shapes in signatures are checked while testing, and cost nothing otherwise."""

import os
import signal
import sys
from pathlib import Path

# Tests run side by side, one a core: threads that wait for one another there cost ten times more
# than they give. Programs that tests start inherit it. Must stand before the first import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from jaxtyping import install_import_hook

from carousel.files import user_cache_folder

ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared" / "corpora"  # optional: real texts, never part of the project

sys.path.insert(0, str(Path(__file__).parent))  # for the checker below
from budgets import TORTURE  # noqa: E402 - found by the line above
from skipped import closing_line  # noqa: E402

# Must stand before the first import of what it checks.
install_import_hook(["carousel.ops", "carousel.kernels", "carousel.models"], "shape_checker.check")

# Compiled once, not anew by each program that a test gives a cache of its own. Inherited likewise.
os.environ.setdefault("CAROUSEL_KERNEL_CACHE", str(user_cache_folder() / "kernels"))

# A busy machine is no fault of the code, so no deadline. `make test` draws the same examples each
# time, so that a commit is judged alike everywhere; `make torture` draws new ones.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=not TORTURE)
hypothesis.settings.load_profile("patient")


# A shell starts `make test &` with SIGINT ignored, nohup with SIGHUP; programs that tests start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    if (line := closing_line(reasons)) is not None:
        terminalreporter.write_line(line, yellow=True)
