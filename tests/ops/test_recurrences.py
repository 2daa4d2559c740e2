"""Every family and variant against torch.nn, its definition, autograd, differences, and time."""

from collections.abc import Callable

import pytest
import torch

from assertions import assert_near
from carousel.ops.recurrence import Masks
from definitions import DEFINITIONS
from recurrence_checks import checks_of, matches_torch
from recurrences import (
    CASES,
    OURS,
    SIZES,
    Case,
    Code,
    Tensors,
    Trial,
    by_hand,
    by_torch,
    family,
    random_inputs,
    with_gradients,
)

TRIALS = [
    Trial(case, bias, masked)
    for case in CASES.values()
    for bias in (True, False)
    for masked in (False, True)
]
FAMILIES = [
    value
    for module in OURS.values()
    for value in vars(module).values()
    if isinstance(value, OURS["recurrence"].Family)
]


def test_every_family_is_a_case_and_every_case_has_its_definition() -> None:
    assert len(FAMILIES) >= 8
    assert {f.name for f in FAMILIES} == {family(OURS, case).name for case in CASES.values()}
    assert DEFINITIONS.keys() == CASES.keys()


@pytest.mark.parametrize(
    ("trial", "check"),
    [pytest.param(t, c, id=f"{t}-{name}") for t in TRIALS for name, c in checks_of(t).items()],
)
def test_holds(trial: Trial, check: Callable[[Code, Trial], None]) -> None:
    check(OURS, trial)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", [c for c in CASES.values() if c.torch_class], ids=lambda c: c.name)
def test_matches_torch_in_single_precision(case: Case, bias: bool) -> None:
    matches_torch(OURS, Trial(case, bias), torch.float32)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_held_after_its_end_a_sequence_is_as_if_alone(case: Case) -> None:
    """What packing needs: outputs repeat, the state is that at its end, gradients are its own."""
    inputs, _ = random_inputs(Trial(case))
    lengths = [SIZES.T, 1, SIZES.T - 1]  # one for each row of the batch
    ended = torch.tensor([[t >= n for n in lengths] for t in range(SIZES.T)]).double().unsqueeze(-1)
    got = by_hand(OURS, case, inputs, Masks(hold=(ended, ended)[: len(case.state)]))
    rows = [alone(case, inputs, b, n) for b, n in enumerate(lengths)]
    want = {name: torch.cat([row[name] for row in rows], dim=-2) for name in rows[0]}
    assert_near(with_gradients(got, inputs), with_gradients(want, inputs))


def alone(case: Case, inputs: Tensors, b: int, length: int) -> Tensors:
    own = {name: inputs[name][[b]] for name in case.state} | {"x": inputs["x"][:length, [b]]}
    run = by_hand if case.torch_class is None else lambda _, case, p, __: by_torch(case, p)
    row = run(OURS, case, inputs | own, Masks())
    return row | {"y": torch.cat([row["y"], *[row["y"][-1:]] * (SIZES.T - length)])}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_state_held_from_the_start_is_the_first_and_passes_every_gradient(case: Case) -> None:
    inputs, _ = random_inputs(Trial(case))
    one = torch.ones(SIZES.T, SIZES.B, 1, dtype=torch.float64)
    got = with_gradients(
        by_hand(OURS, case, inputs, Masks(hold=(one, one)[: len(case.state)])), inputs
    )
    assert torch.equal(got["y"], inputs["h_0"].detach().expand_as(got["y"]))
    assert {name for name, d in got.items() if name[0] == "d" and d.abs().sum() > 0} == {
        f"d{name}" for name in case.state
    }
