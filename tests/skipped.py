"""One line that counts the tests skipped for want of a program, and says how to get it."""

from collections import Counter
from collections.abc import Iterable

PROGRAMS = {"chromium": "in the browser", "npm": "of rendered pages"}  # Debian's packages


def closing_line(reasons: Iterable[str]) -> str | None:
    """Return the line for the reasons of all skipped tests; None if no program was missing."""
    missing = Counter(program for reason in reasons for program in PROGRAMS if program in reason)
    if not missing:
        return None
    counts = " and ".join(f"{n} tests {PROGRAMS[program]}" for program, n in missing.items())
    return f"skipped {counts}: apt-get install {' '.join(missing)}, then make test"
