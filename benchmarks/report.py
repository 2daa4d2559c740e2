"""A session as Markdown: the machine, the bars, the reference, the sweeps, what was not run."""

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.cases import PAIRED, PAIRS, counted, sizes
from benchmarks.figures import Result, Session, Spread, quartiles, rate, ratio
from benchmarks.targets import shown, verdicts

_DISTURBED = 0.02  # part of the processors


def as_markdown(session: Session) -> str:
    """Return the page."""
    parts = [
        "# Speed and memory, side by side in one run",
        _of_the_machine(session),
        *(f"**{line}**" for line in warnings(session)),
        "## The bars",
        _of_the_bars(session.results),
        "## The reference configuration",
        _LEGEND,
        *_references(session),
    ]
    if any(result.case.is_sweep for result in session.results):
        parts += ["## The sweeps, one axis at a time", _SWEEP_LEGEND, *_sweeps(session.results)]
    if missing := _not_run(session.results):
        parts += ["## Not run", missing]
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    "Milliseconds are medians, with the quartiles; all ways of a table were run in turns, round by "
    "round. Ratios are medians of the rounds' ratios, with the interval that holds the true one "
    "with 95 % (of fewer than six rounds: the extremes). GF/s count the recurrence's own products; "
    "of peak is their part of the quickest square product of that precision. MiB is what one pass "
    "takes at its peak, in a process of its own, beyond the model and its inputs. bf16 is autocast "
    "of float32 parameters; a bf16 module has bf16 ones."
)
_SWEEP_LEGEND = (
    "ms (MiB); the ratios are of torch.nn's time to ours at the same precision. "
    "The points are those of the table above but for the size that is named."
)


def warnings(session: Session) -> list[str]:
    """Return what casts doubt on the figures, a sentence each."""
    said = [session.note] if session.note else []
    busy = [r for r in session.results if r.others > _DISTURBED or r.stolen > _DISTURBED]
    if busy:
        others = max(result.others for result in busy)
        stolen = max(result.stolen for result in busy)
        said.append(
            f"The machine was not idle: in {len(busy)} of {len(session.results)} cases more than "
            f"{percent(_DISTURBED)} of it was not ours (other programs up to {percent(others)}, "
            f"the hypervisor up to {percent(stolen)})."
        )
    load = session.machine.get("load_before")
    if load is not None and load > 0.5:
        said.append(f"The load was {load} before the run began.")
    return said


def _of_the_machine(session: Session) -> str:
    m = session.machine
    peaks = ", ".join(f"{name} {rate:,.0f} GF/s" for name, rate in session.peaks.items())
    native = "multiplies bf16" if m["multiplies_bf16"] else "does not multiply bf16"
    return (
        f"{m['processor']} ({m['kind']}), {m['cores']} cores, {m['capability']}, {native}; "
        f"torch {m['torch']}, Python {m['python']}, commit {m['commit']}, {m['date']}, "
        f"{session.form} form. Load {m['load_before']} before, {m['load_after']} after. "
        f"Quickest square products: {peaks}."
    )


def _of_the_bars(results: Sequence[Result]) -> str:
    return table(
        ["what", "against", "bar", "found", ""],
        ([v.what, v.against, v.bar, v.found, v.outcome] for v in verdicts(results)),
        rule="---",
    )


def _references(session: Session) -> Iterator[str]:
    for result in session.results:
        if not result.case.is_sweep:
            yield f"### {result.case.name}"
            yield table(
                ["", "ms", "nn f32 takes", "GF/s", "of peak", "MiB"],
                (_row(session, result, way) for way in result.ways),
            )


def _row(session: Session, result: Result, way: str) -> list[str]:
    """Return a way's figures; the rate where the products of the recurrence are all there is."""
    figures, case = result.ways[way], result.case
    against = ratio(result, "nn f32", way) if way != "nn f32" else None
    precision = "bf16" if "bf16" in way else "f32"
    peak = session.peaks.get(f"{precision}, {counted(case.threads)}")
    reached = rate(result, way) if case.task in ("training", "inference") else None
    setup = f", {figures.setup_s:.0f} s to compile" if figures.setup_s else ""
    return [
        way + setup,
        _times(quartiles(figures.ms)),
        shown(against) if against else "",
        f"{reached:,.0f}" if reached else "",
        percent(reached / peak) if reached and peak else "",
        f"{figures.memory_mib:,.0f}" if figures.memory_mib is not None else "",
    ]


def _times(spread: Spread) -> str:
    digits = 2 if spread.median < 10 else 1
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f}–{spread.high:.{digits}f})"


def percent(part: float) -> str:
    """Return a part of a whole in percent."""
    return f"{100 * part:.0f} %"


def _sweeps(results: Sequence[Result]) -> Iterator[str]:
    """Yield a table for each family and task: its points, axis by axis."""
    swept = [result for result in results if result.case.is_sweep]
    for family, task in dict.fromkeys((r.case.family, r.case.task) for r in swept):
        own = [r for r in swept if (r.case.family, r.case.task) == (family, task)]
        yield f"### {family} {task}, {counted(own[0].case.threads)}"
        ratios = [f"{peer} / {way}" for way, peer in PAIRS]
        yield table(
            ["", *PAIRED, *ratios, "rounds"],
            ([_point(result), *_times_of(result), *_ratios_of(result)] for result in own),
        )


def _point(result: Result) -> str:
    """Return the size in which a point differs from the reference."""
    whole = sizes(result.case.shape).split()
    plain = sizes(type(result.case.shape)()).split()
    return " ".join(word for word, usual in zip(whole, plain, strict=True) if word != usual)


def _times_of(result: Result) -> Iterator[str]:
    for way in PAIRED:
        figures = result.ways.get(way)
        memory = f" ({figures.memory_mib:,.0f})" if figures and figures.memory_mib else ""
        yield f"{quartiles(figures.ms).median:,.2f}{memory}" if figures else ""


def _ratios_of(result: Result) -> Iterator[str]:
    for way, peer in PAIRS:
        found = ratio(result, peer, way)
        yield f"{found.median:.2f}×" if found else ""
    rounds = sorted({len(figures.ms) for figures in result.ways.values()})
    yield "–".join(map(str, rounds))


def _not_run(results: Iterable[Result]) -> str:
    lines = [
        f"- {result.case.name}: {way}: {reason}"
        for result in results
        for way, reason in result.not_run.items()
    ]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], rule: str = "--:") -> str:
    """Return a Markdown table; the rule says how all columns but the first are aligned."""
    lines = [head, ["---", *(rule for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
