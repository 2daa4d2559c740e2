"""What must hold of every op: each check takes the modules that it examines, and a trial.

The first four look at values and gradients, `blocks` at two forms of one thing, the last two at
time.
"""

from collections.abc import Callable
from itertools import combinations, pairwise

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from assertions import assert_near
from carousel.verify import op_spec, streaming
from carousel.verify.attention import ATTENTION, BLOCKS
from carousel.verify.op_spec import Case, Ops, Tensors
from carousel.verify.recurrences import STATE, RecurrentSpec
from hand_derived import and_gradients, by_hand
from op_trials import TINY, Trial, case_of

LEAST_INFLUENCE = 1e-9  # less is rounding


def starts_of(trial: Trial, ops: Ops, dtype: torch.dtype = torch.float64) -> list[Case]:
    """The trial's case; if it has a state, also from a state of zero."""
    has_state = any(name in STATE for name in trial.spec.data)
    return [
        case_of(trial, ops, dtype=dtype, is_from_zero=zero)
        for zero in ((False, True) if has_state else (False,))
    ]


def matches_torch(ops: Ops, trial: Trial, dtype: torch.dtype = torch.float64) -> None:
    """The namesake in torch, in what it puts out."""
    assert trial.spec.reference is not None
    for case in starts_of(trial, ops, dtype):
        assert_same(case, by_hand(case), trial.spec.reference(case))


def matches_the_definition(ops: Ops, trial: Trial) -> None:
    """The paper's equations number by number, differentiated by torch."""
    for case in starts_of(trial, ops):
        assert_same(case, by_hand(case), trial.definition(case))


def matches_autograd(ops: Ops, trial: Trial) -> None:
    """Our reverse is the reverse of our forward pass."""
    case = case_of(trial, ops)
    assert_same(case, by_hand(case), op_spec.forward(case)[0])


def matches_finite_differences(ops: Ops, trial: Trial) -> None:
    """gradcheck is given our reverse, never autograd's."""
    case = case_of(trial, ops, TINY)

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(case.inputs, tensors, strict=True))
        return tuple(by_hand(case._replace(inputs=inputs)).values())

    assert torch.autograd.gradcheck(outputs, tuple(case.inputs.values()))


def equals_its_other_form(ops: Ops, trial: Trial) -> None:
    """Attention in blocks of any size equals the attention that keeps its weights."""
    case = case_of(trial, ops)
    inputs = dict(case.inputs)
    bias = inputs.pop("b_scores", None)  # a constant, in blocks
    fixed = {} if bias is None else {"bias": bias.detach()}
    case = case._replace(inputs=inputs, constants=case.constants | fixed)
    weighted = by_hand(case._replace(spec=ATTENTION))
    for block in (1, 2, 3, 2 * case.sizes["S"]):
        sizes = case.sizes | {"U": block}
        assert_same(case, weighted, by_hand(case._replace(spec=BLOCKS, sizes=sizes)))


def obeys_the_streaming_law(ops: Ops, trial: Trial) -> None:
    """Whole = any split, from a state of its own; outputs and gradients."""
    case = case_of(trial, ops)
    if isinstance(trial.spec, RecurrentSpec):
        figure = streaming.of_case(detached(case), seed=4)
        assert figure.holds, figure
        return
    assert trial.pieces is not None
    whole, steps = by_hand(case), case.sizes["T"]
    for cuts in (cuts for n in range(steps) for cuts in combinations(range(1, steps), n)):
        split = trial.pieces(case, list(pairwise((0, *cuts, steps))))
        assert_same(case, split, {name: whole[name] for name in split})


def depends_on_what_it_should(ops: Ops, trial: Trial) -> None:
    """Each place of the output depends on just those places of the inputs that it sees."""
    case = case_of(trial, ops)
    expected = trial.depends(case)
    wanted = [case.inputs[name] for name in expected]
    for outputs in (op_spec.forward(case)[0], by_hand(case)):
        y = next(iter(outputs.values()))
        name, pattern = next(iter(expected.items()))
        if y.dim() > pattern.dim() - case.inputs[name].dim() + 1:
            y = y @ torch.arange(1.0, y.shape[-1] + 1).double()  # no feature may cancel another
        found: list[list[Tensor]] = []
        for one in y.flatten():
            gradients = torch.autograd.grad(one, wanted, retain_graph=True, materialize_grads=True)
            found.append([~(d.abs().amax(-1) <= LEAST_INFLUENCE) for d in gradients])
        for columns, pattern in zip(zip(*found, strict=True), expected.values(), strict=True):
            assert torch.equal(torch.stack(columns).view_as(pattern), pattern)


def detached(case: Case) -> Case:
    return case._replace(inputs={name: x.detach() for name, x in case.inputs.items()})


def assert_same(case: Case, got: Tensors, want: Tensors) -> None:
    """Values and gradients, of what the second has of the first."""
    outputs = {name: got[name] for name in want}
    assert_near(and_gradients(outputs, case.inputs), and_gradients(want, case.inputs))


Check = Callable[[Ops, Trial], None]
CHECKS: dict[str, Check] = {
    "torch": matches_torch,
    "definition": matches_the_definition,
    "autograd": matches_autograd,
    "differences": matches_finite_differences,
    "blocks": equals_its_other_form,
    "streaming": obeys_the_streaming_law,
    "causality": depends_on_what_it_should,
}


def checks_of(trial: Trial) -> dict[str, Check]:
    """Those that have something to look at; torch's attention returns no weights that it drops."""
    has_dropout = "keep" in case_of(trial).constants
    asked = {
        "torch": trial.spec.reference is not None and not has_dropout,
        "blocks": trial.spec.module.endswith("attention") and not has_dropout,
        "streaming": trial.pieces is not None or isinstance(trial.spec, RecurrentSpec),
    }
    return {name: check for name, check in CHECKS.items() if asked.get(name, True)}


def fails(check: Check, ops: Ops, trial: Trial) -> bool:
    """Tell whether a check sees something wrong; code that breaks down is not a sight."""
    try:
        check(ops, trial)
    except (AssertionError, GradcheckError):
        return True
    return False


def seers(ops: Ops, trial: Trial) -> set[str]:
    """Return the checks that see something wrong."""
    return {name for name, check in checks_of(trial).items() if fails(check, ops, trial)}
