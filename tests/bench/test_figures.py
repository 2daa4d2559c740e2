"""Turns, medians, ratios, bars and slowdowns: from times that are made up."""

import math
from pathlib import Path

import pytest

from bench.planted import Clock, planted
from benchmarks import check, figures, interleaved_timer, machine, targets
from benchmarks.cases import PAIRED, Case, Shape, long, short
from benchmarks.figures import Session, Spread
from benchmarks.session import _is_settled
from carousel.errors import DataError


def test_what_warms_up_is_not_counted_and_the_rest_is_in_milliseconds() -> None:
    clock = Clock()
    passes = {"a": clock.taking("a", 5.0, 0.25), "b": clock.taking("b", 7.0, 0.5)}
    times = interleaved_timer.timed(passes, {"a": 3, "b": 3}, 0.0, clock=clock)
    assert times == {"a": [250.0] * 3, "b": [500.0] * 3}


def test_each_round_runs_all_in_an_order_of_its_own() -> None:
    clock = Clock()
    passes = {name: clock.taking(name, 1.0) for name in "abc"}
    interleaved_timer.timed(passes, dict.fromkeys("abc", 20), 0.0, clock=clock)
    rounds = [tuple(clock.calls[k : k + 3]) for k in range(3, 63, 3)]
    assert all(set(order) == set("abc") for order in rounds)
    assert len(set(rounds)) == 6


def test_rounds_go_on_while_there_is_time_but_not_for_ever() -> None:
    clock = Clock()
    quick = interleaved_timer.timed({"a": clock.taking("a", 1.0)}, {"a": 3}, 12.0, clock=clock)
    assert len(quick["a"]) == 12
    quicker = interleaved_timer.timed({"a": clock.taking("a", 0.001)}, {"a": 3}, 12.0, clock=clock)
    assert len(quicker["a"]) == interleaved_timer.MOST


def test_who_must_run_more_often_goes_on_alone() -> None:
    clock = Clock()
    passes = {"ours": clock.taking("ours", 1.0), "theirs": clock.taking("theirs", 1.0)}
    times = interleaved_timer.timed(passes, {"ours": 9, "theirs": 3}, 0.0, clock=clock)
    assert {name: len(ms) for name, ms in times.items()} == {"ours": 9, "theirs": 3}


def test_what_may_be_slower_than_torch_is_looked_at_nine_times() -> None:
    for seconds, rounds in ((0.5, 3), (0.99, 3), (1.01, 9), (2.0, 9)):
        clock = Clock()
        passes = {"fused f32": clock.taking("o", seconds), "nn f32": clock.taking("t", 1.0)}
        times = interleaved_timer.timed(passes, dict.fromkeys(passes, 3), 0.0, _is_settled, clock)
        assert len(times["fused f32"]) == len(times["nn f32"]) == rounds, seconds


def test_quartiles_and_extremes() -> None:
    assert figures.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert figures.quartiles([3.0, 1.0, 9.0]) == Spread(3.0, 1.0, 9.0)
    assert figures.quartiles([3.0]) == Spread(3.0, 3.0, 3.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """What slows a whole round down cancels; the ratio of the medians would be 20 / 4 = 5."""
    result = planted({"nn f32": [10.0, 20.0, 900.0], "fused f32": [2.0, 10.0, 4.0]})
    assert figures.ratio(result, "nn f32", "fused f32") == Spread(5.0, 2.0, 225.0)
    slowed = planted({"nn f32": [3.0, 30.0, 300.0], "fused f32": [1.0, 10.0, 100.0]})
    assert figures.ratio(slowed, "nn f32", "fused f32") == Spread(3.0, 3.0, 3.0)
    assert figures.ratio(slowed, "nn bf16", "fused f32") is None


def test_rounds_that_only_one_took_part_in_do_not_count() -> None:
    result = planted({"nn f32": [4.0, 6.0], "fused f32": [1.0, 1.0, 100.0, 100.0]})
    assert figures.ratio(result, "nn f32", "fused f32") == Spread(5.0, 4.0, 6.0)


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_holds_the_median_with_95_percent_and_is_no_wider_than_that(n: int) -> None:
    def holds(rank: int) -> float:
        """That not all but `rank` of n draws lie on one side of the median."""
        return 1 - 2 * sum(math.comb(n, k) for k in range(rank + 1)) / 2**n

    rank = figures.outer_rank(n)
    assert 0 <= rank <= (n - 1) // 2
    assert n < 6 or holds(rank) >= 0.95
    assert rank == 0 if n < 6 else holds(rank + 1) < 0.95


def test_a_rate_counts_the_products_of_all_layers() -> None:
    case = Case("gru", "inference", Shape(T=2, B=3, D=5, H=7, L=2), 1, ())
    assert case.flops == 2 * 2 * 3 * 21 * (5 + 7 + 7 + 7)
    assert case._replace(task="training").flops == 3 * case.flops
    result = planted({"nn f32": [8.0]})
    assert figures.rate(result, "nn f32") == pytest.approx(result.case.flops / 8e-3 / 1e9)


def test_a_session_survives_its_file(tmp_path: Path) -> None:
    session = Session(
        {"kind": "some"},
        "short",
        {"f32, 1 thread": 99.5},
        [planted({"nn f32": [1.25, 2.5]}, memory={"nn f32": 7.5}, is_sweep=True, T=16)],
        "a note",
    )
    path = tmp_path / "figures.json"
    path.write_text(figures.as_json(session), encoding="utf-8")
    assert figures.read(path) == session


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{"case": {}}]}'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"figures\.json holds no figures of carousel bench"):
        figures.read(path)


def outcomes(*results: figures.Result) -> dict[tuple[str, str], str]:
    return {(v.what, v.against): v.outcome for v in targets.verdicts(results)}


def test_bars_are_held_or_missed_by_how_much() -> None:
    ms = {"nn f32": [70.0] * 9, "nn bf16": [38.0] * 6 + [50.0] * 3, "textbook f32": [121.0] * 9}
    found = outcomes(planted({**ms, "fused bf16": [20.0] * 9, "fused f32": [50.0] * 9}))
    assert found["lstm training, fused bf16, 2 threads", "nn f32"] == "held"
    assert found["lstm training, fused bf16, 2 threads", "nn bf16"] == "missed by 5.0 %"
    assert found["lstm training, fused bf16, 2 threads", "textbook f32"] == "held"
    assert found["lstm training, fused f32, 2 threads", "nn f32"] == "missed by 12.5 %"
    assert found["lstm training, fused bf16, 1 thread", "nn f32"] == "not measured"


def test_the_slowest_point_of_the_sweeps_is_named() -> None:
    points = [
        planted({"nn f32": [ms], "fused f32": [10.0]}, is_sweep=True, B=batch)
        for batch, ms in ((1, 8.1), (4, 12.0), (16, 8.0), (128, 9.5))
    ]
    points.append(planted({"nn f32": [1.0], "fused f32": [10.0]}))  # is no point of the sweeps
    (verdict,) = [v for v in targets.verdicts(points) if v.what == "any point, fused f32"]
    assert verdict.outcome == "missed by 11.1 %"
    assert "0.80×" in verdict.found
    assert "B16 " in verdict.found
    assert "2 of 4 points are below" in verdict.found


def test_memory_and_the_cost_of_a_character() -> None:
    memory = {"nn f32": 100.0, "fused bf16": 77.0}
    results = [
        planted({way: [1.0] for way in memory}, memory=memory, task="step"),
        planted({"fused bf16": [10.0], "fused f32": [10.0]}),
        planted({"fused bf16": [84.0], "fused f32": [80.0]}, is_sweep=True, T=1024),
        planted({"fused bf16": [330.0], "fused f32": [284.8]}, is_sweep=True, T=4096),
        planted({"fused bf16": [9.0], "fused f32": [9.0]}, is_sweep=True, T=16),  # shorter: free
    ]
    found = outcomes(*results)
    assert found["peak memory, lstm step, fused bf16", "nn f32"] == "missed by 10.0 %"
    flat = "lstm training, {}, cost of a character, T 128 to 4096"
    assert found[flat.format("fused bf16"), "itself"] == "held"
    assert found[flat.format("fused f32"), "itself"] == "missed by 1.0 %"


@pytest.mark.parametrize(("slower", "fails"), [(1.25, True), (1.15, False), (0.5, False)])
def test_a_quarter_slower_fails_the_check_and_15_percent_do_not(slower: float, fails: bool) -> None:
    stored = [planted({"nn f32": [60.0] * 5, "fused bf16": [20.0] * 5})]
    now = [planted({"nn f32": [90.0] * 5, "fused bf16": [30.0 * slower] * 5})]  # a slower machine
    found = check.too_slow(stored, now)
    assert [f.line.split(",")[0] for f in found] == (["lstm training"] if fails else [])
    if fails:
        assert "fused bf16 is 25 % slower: 2.40× nn f32, stored 3.00×" in found[0].line


def test_only_what_is_too_slow_twice_is_a_slowdown() -> None:
    stored = [planted({"nn f32": [60.0], "fused bf16": [20.0], "fused f32": [30.0]})]
    first = [planted({"nn f32": [60.0], "fused bf16": [40.0], "fused f32": [30.0]})]
    second = [planted({"nn f32": [60.0], "fused bf16": [50.0], "fused f32": [90.0]})]
    found = check.seen_again(check.too_slow(stored, first), check.too_slow(stored, second))
    assert [(f.way, f.now) for f in found] == [("fused bf16", 1.2)]


def test_what_only_one_run_has_is_not_compared() -> None:
    stored = [planted({"nn f32": [60.0], "fused bf16": [2.0]}, B=1)]
    now = [planted({"nn f32": [60.0], "fused bf16": [60.0], "bptt f32": [90.0]})]
    assert list(check.compared(stored, now)) == []


def test_the_forms_hold_the_points_that_are_promised() -> None:
    every = long([1, 2])
    assert len({case.name for case in every}) == len(every)
    swept = {(c.family, c.task, *c.shape) for c in every if c.is_sweep}
    assert all(case.threads == 2 for case in every if case.is_sweep)
    for family in ("lstm", "gru", "rnn"):
        for task in ("training", "inference"):
            for point in [(128, 1, 64, 256, 1), (4096, 64, 64, 256, 1), (128, 64, 64, 1024, 1)]:
                assert (family, task, *point) in swept
            assert (family, task, 128, 64, 64, 256, 3) in swept
    references = [case for case in every if not case.is_sweep]
    assert all(case.least == case.ours_least == 9 for case in references)
    assert {case.threads for case in references} == {1, 2}
    assert {case.name for case in short([1, 2])} <= {case.name for case in every}
    assert all(set(PAIRED) <= set(case.ways) for case in every)


def test_the_part_of_the_machine_that_is_not_ours() -> None:
    before = machine.Moment(clock=10.0, busy=100.0, own=50.0, stolen=5.0)
    after = machine.Moment(clock=20.0, busy=115.0, own=60.0, stolen=6.0)
    others, stolen = machine.disturbance(before, after)
    assert others / stolen == pytest.approx(5.0)
    assert machine.disturbance(None, after) == (0.0, 0.0)
