"""Every family and variant against torch.nn, its definition, autograd, differences, and time."""

from collections.abc import Callable

import pytest
import torch

from assertions import assert_near
from carousel.ops.recurrence import Family
from carousel.verify.op_spec import OPS, Case, Ops, Tensors
from carousel.verify.recurrences import RECURRENCES, STATE, family_in
from definitions import DEFINITIONS, definition_of
from hand_derived import and_gradients, by_hand
from op_checks import checks_of, matches_torch
from op_trials import FAMILIES, Trial, case_of, recurrent

names = pytest.mark.parametrize("name", RECURRENCES)


def test_every_family_has_a_spec_and_every_spec_of_one_its_definition() -> None:
    families = [v for of in OPS.values() for v in vars(of).values() if isinstance(v, Family)]
    assert len(families) >= 8
    assert all(family_in(OPS, family) is family for family in families)
    assert {f.name for f in families} == {spec.family.name for spec in RECURRENCES.values()}
    assert DEFINITIONS.keys() <= RECURRENCES.keys()
    assert all(definition_of(name) for name in RECURRENCES)


@pytest.mark.parametrize(
    ("trial", "check"),
    [pytest.param(t, c, id=f"{t}-{name}") for t in FAMILIES for name, c in checks_of(t).items()],
)
def test_holds(trial: Trial, check: Callable[[Ops, Trial], None]) -> None:
    check(OPS, trial)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # of oneDNN
@pytest.mark.parametrize("trial", [t for t in FAMILIES if "torch" in checks_of(t)], ids=str)
def test_matches_torch_in_single_precision(trial: Trial) -> None:
    matches_torch(OPS, trial, torch.float32)


@names
def test_held_after_its_end_a_sequence_is_as_if_alone(name: str) -> None:
    """What packing needs: outputs repeat, the state is that at its end, gradients are its own."""
    case = case_of(recurrent(name))
    steps = case.sizes["T"]
    lengths = [steps, 1, steps - 1]  # one for each row of the batch
    ended = torch.tensor([[t >= n for n in lengths] for t in range(steps)]).double().unsqueeze(-1)
    rows = [alone(case, b, n) for b, n in enumerate(lengths)]
    want = {key: torch.cat([row[key] for row in rows], dim=-2) for key in rows[0]}
    got = by_hand(held(case, ended))
    assert_near(and_gradients(got, case.inputs), and_gradients(want, case.inputs))


def held(case: Case, hold: torch.Tensor) -> Case:
    holds = {"hold_h": hold} | ({"hold_c": hold} if "c_0" in case.inputs else {})
    return case._replace(constants=holds)


def alone(case: Case, b: int, length: int) -> Tensors:
    own = {key: case.inputs[key][[b]] for key in STATE if key in case.inputs}
    own |= {"x": case.inputs["x"][:length, [b]]}
    case = case._replace(inputs=case.inputs | own)
    row = by_hand(case) if case.spec.reference is None else case.spec.reference(case)
    return row | {"y": torch.cat([row["y"], *[row["y"][-1:]] * (case.sizes["T"] - length)])}


@names
def test_a_state_held_from_the_start_is_the_first_and_passes_every_gradient(name: str) -> None:
    case = case_of(recurrent(name))
    one = torch.ones(case.sizes["T"], case.sizes["B"], 1, dtype=torch.float64)
    got = and_gradients(by_hand(held(case, one)), case.inputs)
    assert torch.equal(got["y"], case.inputs["h_0"].detach().expand_as(got["y"]))
    assert {key for key, d in got.items() if key[0] == "d" and d.abs().sum() > 0} == {
        f"d{key}" for key in STATE if key in case.inputs
    }
