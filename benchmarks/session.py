"""One run: the cases one after the other, each result as soon as it is there."""

import time
from collections.abc import Iterator, Sequence

import torch

from benchmarks import machine
from benchmarks.cases import PAIRS, Case, counted
from benchmarks.figures import Measured, Result, Session, ratio_of
from benchmarks.implementations import CannotRun, Pass, is_ours, prepare
from benchmarks.interleaved_timer import Times, timed
from benchmarks.memory import Nursery

_PRECISIONS = ("f32", "bf16")


def measure(cases: Sequence[Case], session: Session) -> Iterator[Case]:
    """Measure cases into a session; yield each before it begins.

    The products' peaks come first and, as the machine may have been busy, last once more.
    """
    before = torch.get_num_threads()
    sizes = (512, 1024) if session.form == "short" else (512, 1024, 2048)
    try:
        with Nursery() as nursery:
            _raise_peaks(cases, session, sizes)
            for case in cases:
                yield case
                result = measured(case)
                if case.task in ("training", "step"):
                    for way, figures in result.ways.items():
                        if not way.startswith("compiled"):
                            figures.memory_mib = nursery.peak(way, case)
                session.results.append(result)
            _raise_peaks(cases, session, sizes)
    finally:
        torch.set_num_threads(before)
        session.machine["load_after"] = machine.load()


def _raise_peaks(cases: Sequence[Case], session: Session, sizes: tuple[int, ...]) -> None:
    for threads in sorted({case.threads for case in cases}):
        torch.set_num_threads(threads)
        for precision in _PRECISIONS:
            name = f"{precision}, {counted(threads)}"
            found = machine.peak(precision, sizes)
            session.peaks[name] = round(max(found, session.peaks.get(name, 0.0)), 1)


def measured(case: Case) -> Result:
    """Measure one case in this process."""
    torch.set_num_threads(case.threads)
    ready: dict[str, Pass] = {}
    setup: dict[str, float] = {}
    not_run: dict[str, str] = {}
    for way in case.ways:
        start = time.perf_counter()
        try:
            ready[way] = prepare(way, case)
            if way.startswith("compiled"):
                ready[way]()
                setup[way] = round(time.perf_counter() - start, 1)
        except CannotRun as error:
            not_run[way] = str(error)
        except Exception as error:  # a peer that fails is reported, the others go on
            if is_ours(way):
                raise
            ready.pop(way, None)
            not_run[way] = _one_line(error)
    before = machine.moment()
    least = {way: case.ours_least if is_ours(way) else case.least for way in ready}
    times = timed(ready, least, case.seconds, _is_settled) if ready else {}
    others, stolen = machine.disturbance(before, machine.moment())
    ways = {way: Measured(ms, setup_s=setup.get(way)) for way, ms in times.items()}
    return Result(case, ways, not_run, round(others, 4), round(stolen, 4))


def _is_settled(times: Times) -> bool:
    """Tell whether ours are the quicker beyond doubt; what may be slower is looked at longer."""
    pairs = [(times[peer], times[way]) for way, peer in PAIRS if {peer, way} <= set(times)]
    return all(ratio_of(theirs, ours).low > 1 for theirs, ours in pairs)


def _one_line(error: Exception) -> str:
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {said[0] if said else 'it said nothing'}"
