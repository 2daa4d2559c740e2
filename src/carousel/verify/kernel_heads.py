"""The kernels that a model ends in, cross-entropy and linear map, against ops in double precision.

Letters: B sequences, T positions, P features, V tokens.
"""

import random
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from carousel.kernels import cross_entropy as cross_entropy_kernel
from carousel.kernels import linear as linear_kernel
from carousel.nn.linear import linear
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.functions import CROSS_ENTROPY
from carousel.verify.kernels import BOUNDS, Choice, poison
from carousel.verify.modules import CROSS_ENTROPY_LAYER, Run, of_layer
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Sizes,
    Tensors,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)

# Rows of several threads' shares, and of the 512 at a time whose weight gradients are one product;
# tokens and features around the 16 that numbers are padded to.
CHOICE: Choice = {"B": (1, 3, 20), "T": (2, 5, 41), "P": (4, 16, 33, 70), "V": (7, 17, 64, 90)}


class Head(NamedTuple):
    """A layer that a kernel runs, and the op that it is to equal.

    Attributes:
        op: In double precision.
        layer: The same, of single precision.
        product: The type of the kernel's products.
    """

    op: OpSpec
    layer: OpSpec
    compute_dtype: torch.dtype


def _sizes(letters: str, choice: Choice, rng: random.Random) -> Sizes:
    return {letter: rng.choice(choice[letter]) for letter in letters}


def _by_definition(case: Case) -> Tensors:
    h, weight, bias = (case.inputs[name] for name in ("h", "weight", "bias"))
    return {"z": h @ weight.T + bias}  # (mlp.4)


def _in_bf16(case: Case) -> Tensors:
    h, weight, bias = (case.inputs[name] for name in ("h", "weight", "bias"))
    _refuse(linear_kernel.unsupported_reason(h, weight, bias, torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        return {"z": linear(h, weight, bias)}


def _cross_entropy(case: Case) -> Tensors:
    _refuse(
        cross_entropy_kernel.unsupported_reason(case.inputs["logits"], case.constants["targets"])
    )
    losses: Tensors = CROSS_ENTROPY_LAYER.forward(case)[0]
    return losses


def _refuse(reason: str | None) -> None:
    """Refuse to prove what would run without the kernel."""
    if reason is not None:
        raise RuntimeError(f"no kernel runs this: {reason}")


def _spec(name: str, data: dict[str, str], weights: dict[str, str], run: Run) -> OpSpec:
    letters = "".join(dict.fromkeys("".join([*data.values(), *weights.values()])))
    blank = OpSpec(
        name=name,
        sizes=partial(_sizes, letters, CHOICE),
        data=data,
        weights=weights,
        forward=forward,
        backward=backward,
    )
    return of_layer(blank, run)


_OP = replace(CROSS_ENTROPY, sizes=partial(_sizes, "BTV", CHOICE))
_LINEAR = ("linear", {"h": "BTP"}, {"weight": "VP", "bias": "V"})
CROSS_ENTROPY_HEAD = Head(_OP, of_layer(_OP, _cross_entropy), torch.float32)
LINEAR_HEAD = Head(_spec(*_LINEAR, _by_definition), _spec(*_LINEAR, _in_bf16), torch.bfloat16)


def against_op(head: Head, seeds: range) -> CheckResult:
    """Return the largest relative difference of an output or a gradient from the op's."""
    figures = []
    for seed in seeds:
        case = _as(draw_case(head.op, seed), torch.float32)
        got = _results(case._replace(spec=head.layer), seed)
        want = _results(_as(case, torch.float64), seed)
        got = {name: x.double() for name, x in got.items()}
        figures.append(distance(got, want, BOUNDS[head.compute_dtype], f"seed {seed}"))
    return worst(figures)


def unwritten(head: Head, seeds: range) -> CheckResult:
    """Return how far from its own bits a kernel is where fresh memory holds no numbers at all."""
    figures = []
    for seed in seeds:
        case = _as(draw_case(head.layer, seed), torch.float32)
        want = _results(case, seed)
        with poison():
            got = _results(case, seed)
        figures.append(distance(got, want, 0.0, f"seed {seed}"))
    return worst(figures)


def _results(case: Case, seed: int) -> Tensors:
    outputs, trace = forward(case)
    gradients = backward(case, draw_cotangents(outputs, seed), trace)
    return outputs | {f"d{name}": d for name, d in gradients.items()}


def _as(case: Case, dtype: torch.dtype) -> Case:
    return case._replace(inputs={name: x.to(dtype) for name, x in case.inputs.items()})
