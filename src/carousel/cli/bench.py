"""`carousel bench`: speed and memory beside torch.nn, in one run; needs a checkout."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import carousel
from carousel.cli.console import clock, console, duration
from carousel.cli.parse import parse
from carousel.errors import RunError, UsageError
from carousel.files import make_folder, write_durably

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.figures import Session

FIGURES, PAGE = "figures.json", "README.md"
NOT_COMPARED = 3  # exit code of --check if no figures are stored for this kind of machine


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure Carousel's recurrent layers beside torch.nn's, and hold them to the project's bars.

    All in one process and in turns: medians with their spread, peak memory, the part of the
    machine's peak. About twenty minutes, nothing else running; --short takes two minutes.
    Ctrl-C keeps what was measured.

    Attributes:
        short: The reference configuration and few points beside it.
        check: A short run; fails where a ratio is more than 20 % slower than the stored one. The
            exit code is 3 if no figures are stored for machines of this kind: nothing was compared.
        store: Keep the figures in benchmarks/results, for --check on machines of this kind.
        out: Folder for the figures, the tables and the plots.
        threads: Numbers of threads, with commas; the sweeps take the largest.
        only: Only cases whose name contains this: "lstm training", "B512", "1 thread", …
        list: Say which cases there are, and measure none.
    """

    short: bool = False
    check: bool = False
    store: bool = False
    out: Path = Path("runs/bench")
    threads: str = "1,2"
    only: str = ""
    list: bool = False


def main(arguments: list[str]) -> int:
    """Measure, write JSON, Markdown and plots, print the bars; return the exit code."""
    command = parse(Bench, arguments, prog="carousel bench")
    threads = _threads(command.threads)
    if command.check and command.store:
        raise UsageError("--check compares with what --store keeps; take one")
    _find_checkout()
    if command.check:
        return _check(command, threads)
    form = "short" if command.short else "long"
    cases = _cases(form, threads, command.only)
    if command.list:
        print("\n".join(case.name for case in cases))
        return 0
    from benchmarks import check, machine
    from benchmarks.results_folder import check_results_folder

    folder = check.STORED / machine.kind() if command.store else command.out
    if not command.store:
        check_results_folder(folder, f"--out {folder}")
    session = _session(form)
    was_interrupted = _measure(cases, session)
    _write(session, folder)
    return 130 if was_interrupted else 0


def _threads(words: str) -> list[int]:
    try:
        threads = sorted({int(word) for word in words.split(",")})
    except ValueError:
        threads = [0]
    if threads[0] < 1:
        raise UsageError(f"--threads must be whole numbers from 1, with commas, got {words!r}")
    return threads


def _find_checkout() -> None:
    """Make the checkout's benchmarks/ importable.

    Raises:
        RunError: If this is no checkout.
    """
    root = Path(carousel.__file__).resolve().parents[2]
    if not (root / "benchmarks" / "session.py").is_file():
        raise RunError("this needs a checkout: benchmarks/ is not part of what is installed")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _cases(form: str, threads: list[int], only: str) -> "list[Case]":
    """Return the cases to measure, of as many threads as there are processors.

    Raises:
        UsageError: If none is left.
    """
    from benchmarks import cases, machine

    possible = [count for count in threads if count <= machine.cores()]
    if len(possible) < len(threads):
        console.print(
            f"note: more threads than the {machine.cores()} processors there are are not run",
            style="yellow",
        )
    if not possible:
        raise UsageError(f"--threads: there are only {machine.cores()} processors")
    chosen = cases.short(possible) if form == "short" else cases.long(possible)
    chosen = [case for case in chosen if only in case.name]
    if not chosen:
        raise UsageError(f"--only: no case's name contains {only!r}; --list names them all")
    return chosen


def _session(form: str) -> "Session":
    from benchmarks import machine
    from benchmarks.figures import Session

    return Session(machine.described(), form)


def _measure(cases: "Sequence[Case]", session: "Session") -> bool:
    """Measure into the session, and tell how it goes; return whether it was interrupted."""
    from benchmarks import report
    from benchmarks import session as sessions

    start = clock()
    for line in report.warnings(session):
        console.print(line, style="yellow")
    try:
        for number, case in enumerate(sessions.measure(cases, session), 1):
            _tell_last(session)
            passed = duration(clock() - start)
            console.print_line(f"[{number}/{len(cases)}, {passed}] {case.name}")
        _tell_last(session)
    except KeyboardInterrupt:
        session.note = f"Interrupted after {len(session.results)} of {len(cases)} cases."
        return True
    finally:
        console.print(f"measured for {duration(clock() - start)}", style="dim")
    return False


def _tell_last(session: "Session") -> None:
    """Print the latest result beside torch's."""
    from benchmarks.cases import PAIRS
    from benchmarks.figures import quartiles, ratio

    if not session.results:
        return
    result = session.results[-1]
    for way, peer in PAIRS:
        if found := ratio(result, peer, way):
            ours = quartiles(result.ways[way].ms).median
            console.print(f"    {way} {ours:.2f} ms, {peer} {found.median:.2f}×", style="dim")
    for way, reason in result.not_run.items():
        console.print_line(f"    {way} not run: {reason}", style="yellow")


def _write(session: "Session", folder: Path) -> None:
    """Write the figures, the page and the plots; print the bars to stdout."""
    from benchmarks import figures, plots, report, targets

    if not session.results:
        console.print("nothing was measured")
        return
    make_folder(folder)
    write_durably(folder / FIGURES, figures.as_json(session).encode())
    write_durably(folder / PAGE, report.as_markdown(session).encode())
    stems = plots.draw(session, folder)
    for verdict in targets.verdicts(session.results):
        if verdict.margin is not None:
            line = f"{verdict.what}, {verdict.against}, {verdict.bar}: {verdict.found}"
            print(f"{verdict.outcome:<17} {line}")
    for line in report.warnings(session):
        console.print_line(line, style="yellow")
    drawn = f" and {len(stems)} plots" if stems else ""
    console.print_line(f"{folder}: {FIGURES}, {PAGE}{drawn}")


def _check(command: Bench, threads: list[int]) -> int:
    """Compare a short run with the stored figures; what is too slow is measured once more.

    Returns:
        The exit code: 0 nothing is slower, 1 something is, NOT_COMPARED without stored figures,
        130 interrupted.
    """
    from benchmarks import check, figures, machine, report

    path = check.STORED / machine.kind() / FIGURES
    if not path.is_file():
        console.print(f"nothing to compare with: no figures are stored for {machine.kind()}")
        console.print("`carousel bench --short --store` measures and keeps some", style="dim")
        return NOT_COMPARED
    stored = figures.read(path).results
    cases = [
        case
        for case in _cases("short", threads, command.only)
        if figures.find(stored, case.name) is not None
    ]
    if not cases:
        raise UsageError(f"--check: {path} has figures of none of these cases")
    session = _session("short")
    if _measure(cases, session):
        return 130
    slow = check.too_slow(stored, session.results)
    if slow:
        console.print("slower than stored; measured once more, to be sure", style="yellow")
        again = _session("short")
        if _measure([c for c in cases if c.name in {found.case for found in slow}], again):
            return 130
        slow = check.seen_again(slow, check.too_slow(stored, again.results))
    for found in slow:
        print(f"carousel bench: {found.line}", file=sys.stderr)
    if not slow:
        count = sum(1 for _ in check.compared(stored, session.results))
        print(f"{count} ratios, none more than {report.percent(check.AT_MOST)} slower than stored")
    return 1 if slow else 0
