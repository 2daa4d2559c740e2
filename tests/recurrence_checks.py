"""What must hold of every recurrent family: each check takes the code that it examines and a trial.

The first four look at values and gradients, the last two at time.
"""

from collections.abc import Callable
from itertools import combinations, pairwise

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from assertions import assert_near
from carousel.ops.recurrence import Masks
from definitions import by_definition
from recurrences import (
    SIZES,
    TINY,
    Code,
    Tensors,
    Trial,
    by_hand,
    by_loop,
    by_torch,
    random_inputs,
    with_gradients,
)


def matches_torch(code: Code, trial: Trial, dtype: torch.dtype = torch.float64) -> None:
    """torch.nn's own layer, from a state of its own and from zero."""
    for zero in (False, True):
        inputs, masks = random_inputs(trial, dtype=dtype, zero=zero)
        got = with_gradients(by_hand(code, trial.case, inputs, masks), inputs)
        assert_near(got, with_gradients(by_torch(trial.case, inputs), inputs))


def matches_the_definition(code: Code, trial: Trial) -> None:
    """The paper's equations, written gate by gate and differentiated by torch."""
    for zero in (False, True):
        inputs, masks = random_inputs(trial, zero=zero)
        got = with_gradients(by_hand(code, trial.case, inputs, masks), inputs)
        assert_near(got, with_gradients(by_definition(trial.case, inputs, masks), inputs))


def matches_autograd(code: Code, trial: Trial) -> None:
    """Our reverse is the reverse of our loop."""
    inputs, masks = random_inputs(trial)
    got = with_gradients(by_hand(code, trial.case, inputs, masks), inputs)
    assert_near(got, with_gradients(by_loop(code, trial.case, inputs, masks), inputs))


def matches_finite_differences(code: Code, trial: Trial) -> None:
    """gradcheck is given our reverse, never autograd's."""
    inputs, masks = random_inputs(trial, TINY)

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        p = dict(zip(inputs, tensors, strict=True))
        return tuple(by_hand(code, trial.case, p, masks).values())

    assert torch.autograd.gradcheck(outputs, tuple(inputs.values()))


def obeys_the_streaming_law(code: Code, trial: Trial) -> None:
    """Whole = any split = one step at a time = any row of the batch; outputs and gradients."""
    inputs, masks = random_inputs(trial)
    whole = with_gradients(by_hand(code, trial.case, inputs, masks), inputs)
    for cuts in (cuts for n in range(SIZES.T) for cuts in combinations(range(1, SIZES.T), n)):
        split = in_pieces(code, trial, inputs, masks, list(pairwise((0, *cuts, SIZES.T))))
        assert_near(with_gradients(split, inputs), whole)
    assert_near(with_gradients(row_by_row(code, trial, inputs, masks), inputs), whole)


def in_pieces(
    code: Code, trial: Trial, inputs: Tensors, masks: Masks, pieces: list[tuple[int, int]]
) -> Tensors:
    outputs, carried = [], {name: inputs[name] for name in trial.case.state}
    for start, end in pieces:
        part = {"x": inputs["x"][start:end]}
        own = masks._replace(
            hold=tuple(None if hold is None else hold[start:end] for hold in masks.hold),
            candidate=None if masks.candidate is None else masks.candidate[start:end],
        )
        piece = by_hand(code, trial.case, inputs | carried | part, own)
        outputs.append(piece.pop("y"))
        carried = dict(zip(trial.case.state, piece.values(), strict=True))
    last = {name.replace("_0", "_n"): tensor for name, tensor in carried.items()}
    return {"y": torch.cat(outputs)} | last


def row_by_row(code: Code, trial: Trial, inputs: Tensors, masks: Masks) -> Tensors:
    def row(tensor: Tensor | None, b: int) -> Tensor | None:
        return None if tensor is None else tensor[..., [b], :]

    rows = []
    for b in range(SIZES.B):
        own = {name: inputs[name][..., [b], :] for name in ("x", *trial.case.state)}
        held = tuple(row(hold, b) for hold in masks.hold)
        cut = Masks(held, row(masks.h, b), row(masks.candidate, b))
        rows.append(by_hand(code, trial.case, inputs | own, cut))
    return {name: torch.cat([r[name] for r in rows], dim=-2) for name in rows[0]}


def is_causal(code: Code, trial: Trial) -> None:
    """No output depends on a later input or another row; each depends on all that came before."""
    inputs, masks = random_inputs(trial)
    wanted = [inputs[name] for name in ("x", *trial.case.state)]
    for run in (by_loop, by_hand):
        y = run(code, trial.case, inputs, masks)["y"]
        for t, b in ((t, b) for t in range(SIZES.T) for b in range(SIZES.B)):
            u = torch.arange(1.0, y.shape[-1] + 1)  # no unit's share may cancel another's
            gradients = torch.autograd.grad(
                y[t, b] @ u.double(), wanted, retain_graph=True, materialize_grads=True
            )
            dx, *dstate = (d.abs().amax(-1) for d in gradients)  # (T, B), then (B,) each
            past = torch.zeros(SIZES.T, SIZES.B, dtype=torch.bool)
            past[: t + 1, b] = True
            assert torch.equal(dx > 0, past)
            assert all(torch.equal(d > 0, past[0]) for d in dstate)


CHECKS: dict[str, Callable[[Code, Trial], None]] = {
    "torch": matches_torch,
    "definition": matches_the_definition,
    "autograd": matches_autograd,
    "differences": matches_finite_differences,
    "streaming": obeys_the_streaming_law,
    "causality": is_causal,
}


def checks_of(trial: Trial) -> dict[str, Callable[[Code, Trial], None]]:
    """All of them, but torch.nn's only where it has the layer; it knows no masks."""
    has_namesake = trial.case.torch_class is not None and not trial.masked
    return {name: check for name, check in CHECKS.items() if name != "torch" or has_namesake}


def fails(check: Callable[[Code, Trial], None], code: Code, trial: Trial) -> bool:
    """Tell whether a check sees something wrong; code that breaks down is not a sight."""
    try:
        check(code, trial)
    except (AssertionError, GradcheckError):
        return True
    return False
