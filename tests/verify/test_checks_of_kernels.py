"""The rows of the kernels: true with other seeds too, and each check sees faults of its own.

Faults are planted between Python and the compiled operators; the C++ is true.
"""

import pkgutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from budgets import amount, torture
from carousel.kernels import decoding, fused
from carousel.verify import kernel_rows
from carousel.verify.kernel_rows import CHECKS
from carousel.verify.table import Row, examine
from verify.faults import seen_by

BY_NAME = {row.name: row for row in kernel_rows.ROWS}
NAMES = {check.name for check in CHECKS}
SOME = 3  # seeds: two do not show a fault of a tile

needs_kernels = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)
needs_bf16 = pytest.mark.skipif(
    (no_bf16 := fused.unavailable_reason(torch.bfloat16)) is not None,
    reason=f"no bfloat16: {no_bf16}",
)


@torture
@needs_kernels
@pytest.mark.parametrize("check", sorted(NAMES))
@pytest.mark.parametrize("row", kernel_rows.ROWS, ids=lambda row: row.name)
def test_holds(row: Row, check: str) -> None:
    """With seeds that the command does not draw."""
    of = row.cells[check]
    figure = None if isinstance(of, str) else of(range(1000, 1000 + amount(1, 60)))
    assert figure is None or figure.holds, figure


def test_every_kernel_is_a_row_of_vectors_of_packed_ones_and_of_ids() -> None:
    names = [row.name for row in kernel_rows.ROWS]
    assert sorted(kernel_rows.kernels.FAMILIES) == sorted(fused.FAMILIES)
    assert names == [
        f"kernel {name.replace('_', ' ')}{use}"
        for name in kernel_rows.kernels.FAMILIES
        for use in ("", ", packed", ", from ids")
    ] + ["kernel cross-entropy", "kernel linear", "kernel writing"]
    assert all(row.cells.keys() == NAMES for row in kernel_rows.ROWS)
    assert all(row.backend == "fused" for row in kernel_rows.ROWS)


def test_where_there_are_no_kernels_nothing_is_run_and_nothing_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    for check in CHECKS:
        figure = examine(BY_NAME["kernel lstm"], check)
        assert figure.is_not_run
        assert (figure.reached, figure.cases) == (None, 0)
        assert figure.where == "CAROUSEL_KERNELS=off"


def test_without_bfloat16_the_rest_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    true = fused.unavailable_reason
    lacking = {torch.bfloat16: "there is none"}
    monkeypatch.setattr(
        fused,
        "unavailable_reason",
        lambda compute_dtype: lacking.get(compute_dtype) or true(compute_dtype),
    )
    figures = {
        check.name: examine(BY_NAME["kernel gru"], check._replace(seeds=2)) for check in CHECKS
    }
    assert {name for name, figure in figures.items() if figure.where == "there is none"} == {
        "bfloat16"
    }


@needs_kernels
def test_a_check_runs_the_kernel_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it to fall back, it would prove nothing."""
    monkeypatch.setattr(fused, "operators", lambda: None)
    applies = {"torch.nn float32"}  # of GRU_RESET_BEFORE there is none
    not_run = set() if fused.unavailable_reason(torch.bfloat16) is None else {"bfloat16"}
    for row in kernel_rows.ROWS[:-3:4]:
        want = NAMES - not_run - (applies if "reset before" in row.name else set())
        assert seen_by(row, *NAMES) == want


HEADS = {
    "cross-entropy": {"ops float64", "torch.nn float32", "unwritten"},
    "linear": {"bfloat16", "unwritten"},
}


@needs_kernels
@needs_bf16
@pytest.mark.parametrize("name", HEADS)
def test_a_check_of_a_head_runs_its_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"carousel.kernels.{name.replace('-', '_')}"
    row = BY_NAME[f"kernel {name}"]
    assert seen_by(row, *NAMES) == set()
    monkeypatch.setattr(f"{module}.operators", lambda: None)
    assert seen_by(row, *NAMES) == HEADS[name]
    monkeypatch.setattr(f"{module}.unsupported_reason", lambda *args: "something")
    assert seen_by(row, *NAMES) == HEADS[name] - {"torch.nn float32"}  # that would do without


class Operators(NamedTuple):
    """The compiled operators, with a fault planted in what they return."""

    of_forward: Callable[..., list[Tensor]]
    of_backward: Callable[..., list[Tensor]]

    def recurrence(self, *args: Any) -> list[Tensor]:
        return self.of_forward(torch.ops.carousel.recurrence(*args), *args)

    def recurrence_backward(self, *args: Any) -> list[Tensor]:
        return self.of_backward(torch.ops.carousel.recurrence_backward(*args), *args)

    def poison(self, is_on: bool) -> None:
        torch.ops.carousel.poison(is_on)


def true(results: list[Tensor], *args: Any) -> list[Tensor]:
    return results


def no_bias(results: list[Tensor], *args: Any) -> list[Tensor]:
    """The gradient of b_hh is forgotten."""
    return [*results[:-1], 0 * results[-1]]


def lost_tile(results: list[Tensor], *args: Any) -> list[Tensor]:
    """What stands beyond the first 64 rows of the initial state's gradient."""
    h_0 = results[1].clone()
    h_0[64:] = 0
    return [results[0], h_0, *results[2:]]


def rounded(results: list[Tensor], *args: Any) -> list[Tensor]:
    """The precision of bfloat16, in silence."""
    return [results[0].bfloat16().to(results[0].dtype), *results[1:]]


def coarse(results: list[Tensor], *args: Any) -> list[Tensor]:
    """Three digits fewer than bfloat16 has."""
    return [results[0] * 1.02, *results[1:]]


def other_state(results: list[Tensor], *args: Any) -> list[Tensor]:
    """The state that is handed on is not that at the end."""
    y, h, *rest = results
    return [y, h.roll(1, -1), *rest]


def neighbours(results: list[Tensor], *args: Any) -> list[Tensor]:
    """Rows see one another."""
    y, *rest = results
    return [y + 0.1 * y.roll(1, 1), *rest]


def later(results: list[Tensor], *args: Any) -> list[Tensor]:
    """Outputs see what is to come."""
    y, *rest = results
    return [y + 0.1 * y.flip(0), *rest]


PLANTED = [
    (true, true, set[str]()),
    (true, no_bias, {"ops float64", "torch.nn float32", "bfloat16"}),
    (true, lost_tile, {"ops float64", "streaming", "causality"}),
    (rounded, true, {"ops float64", "torch.nn float32"}),
    (other_state, true, {"ops float64", "torch.nn float32", "streaming", "bfloat16"}),
    (neighbours, true, {"ops float64", "torch.nn float32", "streaming", "causality", "bfloat16"}),
    (later, true, {"ops float64", "torch.nn float32", "streaming", "causality", "bfloat16"}),
    (coarse, true, {"ops float64", "torch.nn float32", "bfloat16"}),
]


@needs_kernels
@needs_bf16
@pytest.mark.parametrize(("of_forward", "of_backward", "seers"), PLANTED)
def test_a_fault_in_a_kernel_is_seen(
    of_forward: Callable[..., list[Tensor]],
    of_backward: Callable[..., list[Tensor]],
    seers: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "operators", lambda: Operators(of_forward, of_backward))
    assert seen_by(BY_NAME["kernel lstm"], *NAMES, seeds=SOME) == seers


class Unwritten(Operators):
    """The last number of y is what stood in fresh memory: by luck as it should be, or NaN."""

    is_poisoned = False

    def poison(self, is_on: bool) -> None:
        Unwritten.is_poisoned = is_on

    def recurrence(self, *args: Any) -> list[Tensor]:
        y, *rest = torch.ops.carousel.recurrence(*args)
        y[-1, -1, -1] = float("nan") if self.is_poisoned else y[-1, -1, -1]
        return [y, *rest]


@needs_kernels
def test_a_number_that_nobody_wrote_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "operators", lambda: Unwritten(true, true))
    assert seen_by(BY_NAME["kernel lstm"], *NAMES) == {"unwritten"}


@needs_kernels
@needs_bf16
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_fault_in_a_head_is_seen(
    name: str, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last row of what it returns is twice what it should be."""
    function = f"carousel.kernels.{name.replace('-', '_')}.{direction}"
    unspoilt = pkgutil.resolve_name(function)

    def spoilt(*args: Tensor) -> Tensor | tuple[Tensor, ...]:
        first, *rest = found if isinstance(found := unspoilt(*args), tuple) else (found,)
        first = first * torch.where(torch.arange(len(first)) < len(first) - 1, 1.0, 2.0).view(
            -1, *[1] * (first.dim() - 1)
        ).to(first.dtype)
        return (first, *rest) if rest else first

    monkeypatch.setattr(function, spoilt)
    assert seen_by(BY_NAME[f"kernel {name}"], *NAMES) == HEADS[name] - {"unwritten"}


class Writing:
    """The compiled operators that write, with a fault planted before or after one of them."""

    def __init__(self, **faulty: Callable[..., Any]) -> None:
        self.faulty = faulty

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.faulty.get(name, getattr(torch.ops.carousel, name))


def no_output_bias(*args: Any) -> Any:
    *others, bias, compute_dtype = args
    return torch.ops.carousel.make_decoder(*others, 0 * bias, compute_dtype)


def forgetful(*args: Any) -> Any:
    """Each character is the first one to the last layer."""
    family, embedding, w_ih, w_hh, *rest = args
    forgetting = [*w_hh[:-1], 0 * w_hh[-1]]
    return torch.ops.carousel.make_decoder(family, embedding, w_ih, forgetting, *rest)


def bfloat16_in_silence(*args: Any) -> Any:
    return torch.ops.carousel.make_decoder(*args[:-1], torch.bfloat16)


def forgotten_state(machine: Any, *args: Any) -> None:
    """A call begins anew."""
    for state in args[6]:
        state.zero_()
    torch.ops.carousel.decode(machine, *args)


def neighbours_told(machine: Any, *args: Any) -> None:
    """A text is told a little of the next one's chances."""
    torch.ops.carousel.decode(machine, *args)
    for own, other in pairwise(args[4]):
        own[1:2] *= 1 + 1e-3 * other[1, 0]


def other_uniform(logits: Tensor, counts: Tensor, stages: Tensor, u: Tensor) -> Any:
    return torch.ops.carousel.choose(logits, counts, stages, 1 - u)


def no_window(logits: Tensor, counts: Tensor, stages: Tensor, u: Tensor) -> Any:
    return torch.ops.carousel.choose(logits, 0 * counts, stages, u)


def poisoned(machine: Any, *args: Any) -> None:
    """What it tells is what stood in fresh memory: by luck as it should be, or NaN."""
    torch.ops.carousel.decode(machine, *args)
    if Unwritten.is_poisoned:
        args[4][0][1:2] = float("nan")


@needs_kernels
@needs_bf16
@pytest.mark.parametrize(
    ("operator", "fault", "seers"),
    [
        ("make_decoder", no_output_bias, {"ops float64", "bfloat16"}),
        ("make_decoder", forgetful, {"ops float64", "bfloat16"}),
        ("make_decoder", bfloat16_in_silence, {"ops float64"}),
        ("decode", forgotten_state, {"streaming"}),
        ("decode", neighbours_told, {"ops float64", "streaming", "causality"}),
        ("choose", other_uniform, {"ops float64"}),
        ("choose", no_window, {"ops float64"}),
    ],
)
def test_a_fault_in_writing_is_seen(
    operator: str, fault: Callable[..., Any], seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = BY_NAME["kernel writing"]
    assert seen_by(row, *NAMES, seeds=SOME) == set()
    monkeypatch.setattr(decoding, "operators", lambda: Writing(**{operator: fault}))
    assert seen_by(row, *NAMES, seeds=8) == seers


@needs_kernels
@needs_bf16
def test_what_writes_is_the_kernel_and_what_nobody_wrote_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = BY_NAME["kernel writing"]
    all_of_them = NAMES - {"torch.nn float32"}
    with monkeypatch.context() as planted:
        planted.setattr(decoding, "operators", lambda: None)
        assert seen_by(row, *NAMES) == all_of_them
    with monkeypatch.context() as planted:
        planted.setattr(decoding, "unsupported_reason", lambda *args: "something")
        assert seen_by(row, *NAMES) == all_of_them
    monkeypatch.setattr(fused, "operators", lambda: Unwritten(true, true))
    monkeypatch.setattr(decoding, "operators", lambda: Writing(decode=poisoned))
    assert seen_by(row, *NAMES) == {"unwritten"}
