"""The bars: what must be how many times quicker or smaller, and whether it is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.cases import PAIRS, REFERENCE, Case, Family, Task, counted
from benchmarks.figures import Result, Spread, find, quartiles, ratio


class Verdict(NamedTuple):
    """A bar, and what was found.

    Attributes:
        what: What is measured.
        against: Whom it is compared with.
        bar: What was asked for, in words.
        found: What came out, in words; empty where it was not measured.
        margin: By how much of the bar it is held (positive) or missed; None: not measured.
    """

    what: str
    against: str
    bar: str
    found: str = ""
    margin: float | None = None

    @property
    def outcome(self) -> str:
        """What a reader wants to know first."""
        if self.margin is None:
            return "not measured"
        return "held" if self.margin >= 0 else f"missed by {-100 * self.margin:.1f} %"


class _Bar(NamedTuple):
    family: Family
    task: Task
    threads: int
    way: str
    peer: str
    least: float


def _speed() -> list[_Bar]:
    return [
        _Bar("lstm", "training", 2, "fused bf16", "nn f32", 3.5),
        _Bar("lstm", "training", 2, "fused bf16", "nn bf16", 2.0),
        _Bar("lstm", "training", 2, "fused bf16 module", "nn bf16 module", 2.0),
        _Bar("lstm", "training", 2, "fused bf16", "textbook f32", 6.0),
        _Bar("lstm", "training", 1, "fused bf16", "nn f32", 3.0),
        _Bar("lstm", "training", 1, "fused bf16", "nn bf16", 1.8),
        _Bar("lstm", "training", 1, "fused bf16 module", "nn bf16 module", 1.8),
        _Bar("lstm", "language model", 2, "fused bf16", "nn f32", 3.8),
        _Bar("lstm", "training", 2, "fused f32", "nn f32", 1.6),
        _Bar("gru", "training", 2, "fused bf16", "nn f32", 3.0),
        _Bar("rnn", "training", 2, "fused bf16", "nn f32", 3.0),
        _Bar("lstm", "inference", 2, "fused bf16", "nn bf16", 1.0),
        _Bar("lstm", "inference", 2, "fused bf16 module", "nn bf16 module", 1.0),
        _Bar("lstm", "step", 2, "fused bf16", "nn f32", 3.0),
        _Bar("lstm", "step", 2, "fused bf16", "nn in our step f32", 3.0),
    ]


_NEVER_BELOW = 0.9
_MEMORY_AT_MOST = 0.7
_FLAT_WITHIN = 0.1


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """Return all bars, those too that nothing was measured for."""
    return [
        *(_of_speed(bar, results) for bar in _speed()),
        *(_of_the_sweeps(way, peer, results) for way, peer in PAIRS),
        *(_of_memory(task, results) for task in ("step", "training")),
        *(_of_length(way, results) for way, _ in PAIRS),
    ]


def reference(family: Family, task: Task, threads: int) -> str:
    """Return the name of a case of the reference configuration."""
    return Case(family, task, REFERENCE, threads, ()).name


def _of_speed(bar: _Bar, results: Iterable[Result]) -> Verdict:
    result = find(results, reference(bar.family, bar.task, bar.threads))
    found = ratio(result, bar.peer, bar.way) if result else None
    what = f"{bar.family} {bar.task}, {bar.way}, {counted(bar.threads)}"
    asked = Verdict(what, bar.peer, f"≥ {bar.least:.1f}×")
    if found is None:
        return asked
    return asked._replace(found=shown(found), margin=found.median / bar.least - 1)


def shown(found: Spread) -> str:
    """Return a ratio and its interval."""
    return f"{found.median:.2f}× ({found.low:.2f}–{found.high:.2f})"


def _of_the_sweeps(way: str, peer: str, results: Iterable[Result]) -> Verdict:
    """Find the point where we are slowest beside torch, of all."""
    asked = Verdict(f"any point, {way}", peer, f"≥ {_NEVER_BELOW:.1f}×")
    pairs = [(r, ratio(r, peer, way)) for r in results if r.case.is_sweep]
    points = [(found.median, found, result.case.name) for result, found in pairs if found]
    if not points:
        return asked
    least, found, name = min(points)
    below = sum(median < _NEVER_BELOW for median, _, _ in points)
    more = f"; {below} of {len(points)} points are below" if below else f", of {len(points)} points"
    return asked._replace(
        found=f"at least {shown(found)}: {name}{more}", margin=least / _NEVER_BELOW - 1
    )


def _of_memory(task: Task, results: Iterable[Result]) -> Verdict:
    """Compare ours in bf16 with torch's in float32."""
    asked = Verdict(f"peak memory, lstm {task}, fused bf16", "nn f32", f"≤ {_MEMORY_AT_MOST}×")
    result = find(results, reference("lstm", task, 2))
    if result is None or not {"fused bf16", "nn f32"} <= set(result.ways):
        return asked
    ours, theirs = (result.ways[way].memory_mib for way in ("fused bf16", "nn f32"))
    if not ours or not theirs:
        return asked
    found = f"{ours / theirs:.2f}× ({ours:.0f} of {theirs:.0f} MiB)"
    return asked._replace(found=found, margin=1 - ours / theirs / _MEMORY_AT_MOST)


def _of_length(way: str, results: Iterable[Result]) -> Verdict:
    """Compare the cost of a character from the reference's length up."""
    asked = Verdict(
        f"lstm training, {way}, cost of a character, T 128 to 4096",
        "itself",
        f"flat within {100 * _FLAT_WITHIN:.0f} %",
    )
    spreads = cost_of_a_character(way, "T", "lstm", "training", results)
    costs = {length: spread.median for length, spread in spreads.items() if length >= 128}
    if not {128, 4096} <= set(costs):
        return asked
    changes = {length: cost / costs[128] - 1 for length, cost in costs.items()}
    length = max(changes, key=lambda t: abs(changes[t]))
    return asked._replace(
        found=f"{100 * changes[length]:+.1f} % at T{length}",
        margin=_FLAT_WITHIN - abs(changes[length]),
    )


def cost_of_a_character(
    way: str, axis: str, family: Family, task: Task, results: Iterable[Result]
) -> dict[int, Spread]:
    """Return microseconds for one place of a batch, by the size of one axis around the reference.

    Of several numbers of threads, the largest.
    """
    chosen = [
        result
        for result in results
        if (result.case.family, result.case.task) == (family, task)
        and result.case.shape._replace(**{axis: getattr(REFERENCE, axis)}) == REFERENCE
        and way in result.ways
    ]
    most = max((result.case.threads for result in chosen), default=0)
    costs = {}
    for result in chosen:
        shape = result.case.shape
        if result.case.threads == most:
            spread = quartiles(result.ways[way].ms)
            costs[getattr(shape, axis)] = Spread(*(1e3 * ms / (shape.T * shape.B) for ms in spread))
    return dict(sorted(costs.items()))
