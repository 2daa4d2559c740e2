"""What must hold of the ops beside recurrence: each check takes the code it examines and a case.

The first four look at values and gradients, `blocks` at two forms of one thing, the last at time.
"""

from collections.abc import Callable
from itertools import combinations, pairwise

import torch
from op_case import SIZES, TINY, Case, Code, by_hand, random_inputs
from op_cases import CASES
from op_given import Tensors
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from assertions import assert_near
from recurrences import with_gradients

LEAST_INFLUENCE = 1e-9  # less is rounding


def matches_torch(code: Code, case: Case) -> None:
    """The namesake in torch.nn.functional, in what it puts out."""
    p, given = random_inputs(case)
    assert case.namesake is not None
    assert_same(by_hand(code, case, p, given), case.namesake(p, given), p)


def matches_the_definition(code: Code, case: Case) -> None:
    """The paper's equations number by number, differentiated by torch."""
    p, given = random_inputs(case)
    assert_same(by_hand(code, case, p, given), case.definition(p, given), p)


def matches_autograd(code: Code, case: Case) -> None:
    """Our reverse is the reverse of our forward pass."""
    p, given = random_inputs(case)
    assert_same(by_hand(code, case, p, given), case.forward(code, p, given)[0], p)


def matches_finite_differences(code: Code, case: Case) -> None:
    """gradcheck is given our reverse, never autograd's."""
    p, given = random_inputs(case, TINY)

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(by_hand(code, case, dict(zip(p, tensors, strict=True)), given).values())

    assert torch.autograd.gradcheck(outputs, tuple(p.values()))


def equals_its_other_form(code: Code, case: Case) -> None:
    """Attention in blocks of any size equals the attention that keeps its weights."""
    p, given = random_inputs(case)
    bias = p.pop("bias", None)  # a constant, in blocks
    given = given if bias is None else given._replace(bias=bias.detach())
    weighted = by_hand(code, CASES["attention"], p, given)
    for block in (1, SIZES.block, SIZES.C, 2 * SIZES.S):
        in_blocks = by_hand(code, CASES["blocks"], p, given._replace(block=block))
        assert_same(weighted, in_blocks, p)


def obeys_the_streaming_law(code: Code, case: Case) -> None:
    """Whole = any split, from a state of its own; outputs and gradients."""
    p, given = random_inputs(case)
    whole = by_hand(code, case, p, given)
    assert case.pieces is not None
    for cuts in (cuts for n in range(SIZES.T) for cuts in combinations(range(1, SIZES.T), n)):
        split = case.pieces(case, code, p, given, list(pairwise((0, *cuts, SIZES.T))))
        assert_same(split, {name: whole[name] for name in split}, p)


def depends_on_what_it_should(code: Code, case: Case) -> None:
    """Each place of the output depends on just those places of the inputs that it sees."""
    p, given = random_inputs(case)
    expected = case.depends(p, given)
    wanted = [p[name] for name in expected]
    for outputs in (case.forward(code, p, given)[0], by_hand(code, case, p, given)):
        y = next(iter(outputs.values()))
        u = torch.arange(1.0, y.shape[-1] + 1).double()  # no feature's share may cancel another's
        found: list[list[Tensor]] = []
        for one in (y @ u).flatten():
            gradients = torch.autograd.grad(one, wanted, retain_graph=True, materialize_grads=True)
            found.append([~(d.abs().amax(-1) <= LEAST_INFLUENCE) for d in gradients])
        for columns, pattern in zip(zip(*found, strict=True), expected.values(), strict=True):
            assert torch.equal(torch.stack(columns).view_as(pattern), pattern)


def assert_same(got: Tensors, want: Tensors, inputs: Tensors) -> None:
    """Values and gradients, of what the second has of the first."""
    outputs = {name: got[name] for name in want}
    assert_near(with_gradients(outputs, inputs), with_gradients(want, inputs))


CHECKS: dict[str, Callable[[Code, Case], None]] = {
    "torch": matches_torch,
    "definition": matches_the_definition,
    "autograd": matches_autograd,
    "differences": matches_finite_differences,
    "blocks": equals_its_other_form,
    "streaming": obeys_the_streaming_law,
    "causality": depends_on_what_it_should,
}


def checks_of(case: Case) -> dict[str, Callable[[Code, Case], None]]:
    """Those that have something to look at."""
    asked = {
        "torch": case.namesake is not None,
        "blocks": case.module.startswith("attention") and case.given(SIZES).keep is None,
        "streaming": case.pieces is not None,
    }
    return {name: check for name, check in CHECKS.items() if asked.get(name, True)}


def fails(check: Callable[[Code, Case], None], code: Code, case: Case) -> bool:
    """Tell whether a check sees something wrong; code that breaks down is not a sight."""
    try:
        check(code, case)
    except (AssertionError, GradcheckError):
        return True
    return False
