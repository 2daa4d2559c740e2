"""What was measured, what follows from it, and how it stands in a JSON file."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Case, Shape
from carousel.errors import DataError

_CONFIDENCE = 0.95


class Spread(NamedTuple):
    """A median, and what lies around it: quartiles of times, of ratios a confidence interval."""

    median: float
    low: float
    high: float


@dataclass
class Measured:
    """What one contender needed; milliseconds round by round.

    Attributes:
        ms: Of each round.
        memory_mib: What one pass takes at its peak, beyond model and inputs; None: not measured.
        setup_s: Seconds until the end of the first pass, of what is compiled.
    """

    ms: list[float]
    memory_mib: float | None = None
    setup_s: float | None = None


@dataclass
class Result:
    """A case, its contenders' figures, and how much of the machine was not ours meanwhile.

    Attributes:
        case: What was done.
        ways: Figures by contender.
        not_run: Why others have none.
        others: Part of all processors that other programs used.
        stolen: Part of all processors that the hypervisor kept.
    """

    case: Case
    ways: dict[str, Measured]
    not_run: dict[str, str] = field(default_factory=dict)
    others: float = 0.0
    stolen: float = 0.0


@dataclass
class Session:
    """All of one run.

    Attributes:
        machine: Where, when and with what.
        form: "short" or "long".
        peaks: Products' rates that were reached, GF/s, by precision and threads: "f32, 2 threads".
        results: In the order of measuring.
        note: What a reader must know, such as that it was interrupted.
    """

    machine: dict[str, Any]
    form: str
    peaks: dict[str, float] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    note: str = ""


def quartiles(times: Sequence[float]) -> Spread:
    """Return the median and the quartiles; of fewer than four times, the extremes."""
    middle = statistics.median(times)
    if len(times) < 4:
        return Spread(middle, min(times), max(times))
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio(result: Result, peer: str, way: str) -> Spread | None:
    """Return how many times longer the peer takes; None where either was not run."""
    if peer not in result.ways or way not in result.ways:
        return None
    return ratio_of(result.ways[peer].ms, result.ways[way].ms)


def ratio_of(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Return the median of the rounds' ratios, and an interval that holds the true one with 95 %.

    Where one of them dropped out, the rounds that both took part in count.
    """
    ratios = sorted(a / b for a, b in zip(theirs, ours, strict=False))
    rank = outer_rank(len(ratios))
    return Spread(statistics.median(ratios), ratios[rank], ratios[-1 - rank])


def outer_rank(n: int) -> int:
    """Return k such that the k-th smallest and largest of n (from 0) hold the median with 95 %.

    As far in as that allows, whatever the distribution; of fewer than six values the extremes,
    which hold it less surely. Source: David and Nagaraja 2003, section 7.1.
    """
    outside, rank = 2 * 0.5**n, 0
    while rank + 1 < n / 2:
        outside += 2 * math.comb(n, rank + 1) * 0.5**n
        if outside > 1 - _CONFIDENCE:
            break
        rank += 1
    return rank


def rate(result: Result, way: str) -> float:
    """Return the GF/s that a contender's products come to."""
    return result.case.flops / statistics.median(result.ways[way].ms) / 1e6


def find(results: Iterable[Result], name: str) -> Result | None:
    """Return the result of the case of that name."""
    return next((result for result in results if result.case.name == name), None)


def as_json(session: Session) -> str:
    """Return a session as text; the times to the microsecond."""
    table = asdict(session)
    for result, row in zip(session.results, table["results"], strict=True):
        case = result.case
        row["case"] = {**case._asdict(), "shape": case.shape._asdict(), "name": case.name}
        for way in row["ways"].values():
            way["ms"] = [round(ms, 3) for ms in way["ms"]]
            way["median_ms"] = round(statistics.median(way["ms"]), 3)
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Session:
    """Return the session in a file.

    Raises:
        DataError: If it is none.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Session(**table | {"results": [_result(row) for row in table["results"]]})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no figures of carousel bench: {error}") from None


def _result(row: dict[str, Any]) -> Result:
    case = {key: row["case"][key] for key in Case._fields}
    case |= {"shape": Shape(**case["shape"]), "ways": tuple(case["ways"])}
    ways = {
        name: Measured(way["ms"], way["memory_mib"], way["setup_s"])
        for name, way in row["ways"].items()
    }
    return Result(Case(**case), ways, row["not_run"], row["others"], row["stolen"])
