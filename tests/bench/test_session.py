"""Everything that `carousel bench` measures, at sizes that take no time."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import figures, implementations, machine, plots, report, session
from benchmarks.cases import MODULES, PAIRED, Case, Shape, V
from benchmarks.figures import Result, Session
from benchmarks.implementations import Textbook
from carousel.kernels import fused

TINY = Shape(T=3, B=2, D=4, H=8)
BRIEF: dict[str, Any] = {"least": 2, "ours_least": 2, "seconds": 0.0}

# Without kernels (no compiler, another processor) ours are reported as not run, and why.
MISSING = {
    way: fused.unavailable_reason(implementations._compute_dtype(way))
    for way in ("fused f32", "fused bf16")
}


@pytest.fixture(autouse=True)
def compiler_settings() -> Iterator[None]:
    """Put back afterwards what the compiled textbook cell switches off for the whole process."""
    config = torch.compiler.config
    before = config.force_disable_caches
    yield
    config.force_disable_caches = before


def expected(result: Result) -> None:
    """Every way has its figures, or a reason."""
    case = result.case
    absent = {way for way in case.ways if any(way.startswith(w) for w in MISSING if MISSING[w])}
    assert set(result.not_run) == absent
    assert set(result.ways) == set(case.ways) - absent
    assert all(len(f.ms) >= 2 and min(f.ms) > 0 for f in result.ways.values())


@pytest.mark.parametrize(
    "case",
    [
        Case("lstm", "training", TINY, 1, (*PAIRED, *MODULES, "bptt f32", "textbook f32"), **BRIEF),
        Case("gru", "training", TINY._replace(L=2), 1, (*PAIRED, "bptt f32"), **BRIEF),
        Case("rnn", "inference", TINY, 1, PAIRED, **BRIEF),
        Case("lstm", "inference", TINY, 1, (*PAIRED, *MODULES), **BRIEF),
        Case("lstm", "language model", TINY, 1, (*PAIRED, "fused bf16, looked up"), **BRIEF),
        Case("lstm", "step", TINY, 1, (*PAIRED, "nn in our step f32"), **BRIEF),
    ],
    ids=lambda case: f"{case.family} {case.task}",
)
def test_every_contender_runs(case: Case) -> None:
    expected(session.measured(case))


def test_a_run_is_written_down_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(machine, "peak", lambda *_: 100.0)
    ways = ("nn f32", "fused f32")
    points = [Shape(T=2), Shape(T=3)]
    cases = [Case("lstm", "training", p, 1, ways, is_sweep=True, **BRIEF) for p in points]
    found = Session(machine.described(), "short")
    assert list(session.measure(cases, found)) == cases
    table = json.loads(figures.as_json(found))
    assert table["peaks"] == {"f32, 1 thread": 100.0, "bf16, 1 thread": 100.0}
    wanted = {"processor", "kind", "cores", "capability", "torch", "commit", "date"}
    assert wanted | {"load_before", "load_after"} <= set(table["machine"])
    assert [row["case"]["name"] for row in table["results"]] == [case.name for case in cases]
    for row in table["results"]:
        assert {"others", "stolen", "not_run"} <= set(row)
        theirs = row["ways"]["nn f32"]
        assert len(theirs["ms"]) >= 2
        assert min(theirs["ms"]) <= theirs["median_ms"] <= max(theirs["ms"])
        assert theirs["memory_mib"] >= 0
    page = report.as_markdown(found)
    assert "## The bars" in page
    assert "| T3 |" in page
    plots.draw(found, tmp_path)
    assert {"lstm-length.png", "lstm-length.svg"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_the_peak_is_a_rate(precision: str) -> None:
    """A number of operations per second that no core is too slow or too quick for."""
    assert 0.01 < machine.peak(precision, (48, 64)) < 1e5


def test_memory_is_what_a_pass_holds() -> None:
    """nn.LSTM keeps at least its output, four gates and two states of every place."""
    from benchmarks.memory import Nursery

    case = Case("lstm", "training", Shape(T=64, B=64, D=64, H=256), 1, PAIRED)
    with Nursery() as nursery:
        found, again = (nursery.peak("nn f32", case) for _ in range(2))
        unknown = nursery.peak("nobody f32", case)
        after = nursery.peak("nn f32", case)
    assert found is not None
    assert again is not None
    kept = 64 * 64 * 256 * 4 * (1 + 4 + 2) / 2**20
    assert kept < found < 4 * kept
    assert abs(again - found) < 0.1 * found
    assert unknown is None
    assert after is not None


def test_what_cannot_run_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no C++ compiler\nand a page about it")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    case = Case("lstm", "training", TINY, 1, ("fused bf16", "compiled f32", "nn f32"), **BRIEF)
    result = session.measured(case)
    assert result.not_run == {
        "fused bf16": "CAROUSEL_KERNELS=off",
        "compiled f32": "RuntimeError: no C++ compiler",
    }
    assert set(result.ways) == {"nn f32"}
    page = report.as_markdown(Session(machine.described(), "short", results=[result]))
    assert f"- {case.name}: compiled f32: RuntimeError: no C++ compiler" in page


def test_ours_fail_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(session, "prepare", refuse)
    with pytest.raises(RuntimeError, match="a defect"):
        session.measured(Case("lstm", "training", TINY, 1, ("bptt f32",), **BRIEF))


def test_the_number_of_threads_is_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "peak", lambda *_: 100.0)
    monkeypatch.setattr(session, "Nursery", nullcontext)
    seen = []
    monkeypatch.setattr(
        session, "measured", lambda case: seen.append(case.threads) or Result(case, {})
    )
    before = torch.get_num_threads()
    cases = [Case("rnn", "inference", TINY, threads, PAIRED) for threads in (3, 1)]
    list(session.measure(cases, Session(machine.described(), "short")))
    assert seen == [3, 1]
    assert torch.get_num_threads() == before


def test_the_textbook_is_torchs_lstm_and_its_products_are_counted() -> None:
    shape = Shape(T=5, B=3, D=4, H=6)
    textbook, lstm = Textbook(shape.D, shape.H), nn.LSTM(shape.D, shape.H)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.cat([gate.weight[:, : shape.D] for gate in textbook.gates]))
        lstm.weight_hh_l0.copy_(torch.cat([gate.weight[:, shape.D :] for gate in textbook.gates]))
        lstm.bias_ih_l0.copy_(torch.cat([gate.bias for gate in textbook.gates]))
        lstm.bias_hh_l0.zero_()
    x = torch.randn(shape.T, shape.B, shape.D, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        y, last = textbook(x)
    wanted, states = lstm(x)
    torch.testing.assert_close((y, *last), (wanted, states[0][0], states[1][0]))
    assert counter.get_total_flops() == Case("lstm", "inference", shape, 1, ()).flops


def test_both_language_models_have_as_many_weights() -> None:
    def counted(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    shape = Shape()
    ours = implementations._our_model("fused f32", shape)
    assert counted(implementations.TorchModel(shape)) == counted(ours) > V * shape.D
