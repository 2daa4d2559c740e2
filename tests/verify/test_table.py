"""Figures, and how the checks are run."""

import math

import pytest
import torch

from carousel.kernels.dispatch import _name
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.recurrences import RECURRENCES
from carousel.verify.rows import CHECKS, ROWS, TABLES
from carousel.verify.table import Check, Row, Table, cells, examine

ONE, TWO = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])


def test_a_distance_is_the_largest_of_all_tensors() -> None:
    figure = distance({"a": ONE, "b": TWO}, {"a": ONE, "b": ONE}, 0.2, "case 7")
    assert figure == CheckResult(pytest.approx(0.1), 0.2, "b (case 7)", 1)
    assert figure.holds
    assert not figure._replace(bound=0.05).holds


@pytest.mark.parametrize(
    "got",
    [
        {"a": ONE[:1]},  # of another shape
        {"a": ONE * math.nan},
        {"a": ONE, "b": ONE},  # one too many
        {},
    ],
)
def test_what_cannot_be_compared_is_infinitely_far(got: dict[str, torch.Tensor]) -> None:
    figure = distance(got, {"a": ONE}, 1.0)
    assert figure.reached == math.inf
    assert not figure.holds


def test_zero_is_near_to_nothing_but_zero() -> None:
    assert distance({"a": 0 * ONE}, {"a": 0 * ONE}, 0.0).reached == 0
    assert distance({"a": 1e-30 * ONE.double()}, {"a": 0 * ONE.double()}, 1.0).reached == math.inf


def test_the_worst_of_figures_counts_the_cases_of_all() -> None:
    assert worst([CheckResult(1.0, 2.0, "a", 3), CheckResult(1.5, 2.0, "b", 4)]) == CheckResult(
        1.5, 2.0, "b", 7
    )


def raises(seeds: range) -> CheckResult:
    raise AttributeError("no such thing")


def counts(seeds: range) -> CheckResult:
    return CheckResult(0.0, 0.0, "all", len(seeds))


ROW = Row("one", {"a": counts, "wild": raises, "b": "there is none"})


def test_a_check_that_ends_in_an_error_fails() -> None:
    figure = examine(ROW, Check("wild", 1, ""))
    assert not figure.holds
    assert figure.where == "AttributeError: no such thing"


def who_runs(seeds: range) -> CheckResult:
    return CheckResult(0.0, where=_name("auto"))


def test_what_is_examined_runs_by_the_hand_derived_reverse_or_by_a_kernel() -> None:
    """Never by what happens to be the fastest here."""
    check = Check("a", 1, "")
    assert examine(Row("one", {"a": who_runs}), check).where == "bptt"
    assert examine(Row("one", {"a": who_runs}, backend="fused"), check).where == "fused"
    assert [{row.backend for row in table.rows} for table in TABLES] == [{"bptt"}, {"fused"}]


def test_a_check_that_does_not_apply_says_why() -> None:
    assert examine(ROW, Check("b", 1, "")) == CheckResult(None, where="there is none")


def test_processes_share_the_work_and_keep_its_order() -> None:
    checks = [Check("a", 3, ""), Check("wild", 1, ""), Check("b", 5, "")]
    rows = [ROW._replace(name=name) for name in ("one", "two", "three")]
    others = Table("other", checks[:1], [ROW._replace(name="four")])
    found = list(cells([Table("kind", checks, rows), others], processes=2))
    order = [(row.name, check.name) for row in rows for check in checks] + [("four", "a")]
    assert [(cell.family, cell.check) for cell in found] == order
    assert [cell.figure.cases for cell in found] == [3, 0, 0] * 3 + [3]
    assert [cell.figure.holds for cell in found] == [True, False, True] * 3 + [True]


def test_every_row_says_of_every_check_what_it_does_or_why_not() -> None:
    names = [row.name for table in TABLES for row in table.rows]
    assert len(set(names)) == len(names)
    for table in TABLES:
        assert all(row.cells.keys() == {check.name for check in table.checks} for row in table.rows)


def test_every_recurrent_family_is_a_row_without_masks_and_with_them() -> None:
    names = [row.name for row in ROWS]
    for name in (spec.name for spec in RECURRENCES.values()):
        assert names[names.index(name) + 1] == f"{name}, masked"
    for name in names:  # a use stands below its family
        family, _, use = name.partition(", ")
        assert not use or names[names.index(family) + 1].startswith(f"{family}, ")
    assert {spec.family.name for spec in RECURRENCES.values()} >= {
        *("rnn_tanh", "rnn_relu", "gru", "gru_reset_before"),
        *("lstm", "lstm_with_options", "lstm_coupled", "lstm_1997", "lstm_layer_norm"),
    }


def test_torch_and_streaming_are_asked_as_often_as_they_promise() -> None:
    seeds = {check.name: check.seeds for check in CHECKS}
    assert seeds["torch.nn float64"] >= 200
    assert seeds["torch.nn float32"] >= 200
    (streaming,) = (check for check in CHECKS if check.name == "streaming")
    assert examine(ROWS[0], streaming).cases >= 500
