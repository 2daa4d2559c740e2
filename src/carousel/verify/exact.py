"""Exact: each hand-derived gradient is, entry by entry, the derivative of the op's own forward.

Both run over a prime field, where equality needs no tolerance (`finite_field.py`): the backward
pass runs once from random weights of all outputs; the oracle has carried the derivative of every
entry of every input forward through the op. They share no formula but σ', tanh', exp', log', (1/√)'
and that of the ReLU. A wrong formula is right at a random point with a probability of its degree
in 2⁶¹ (Schwartz 1980, Zippel 1979).
"""

import random

import torch
from torch import Tensor

from carousel.verify.check_result import CheckResult, worst
from carousel.verify.finite_field import field, plain, tangent
from carousel.verify.modular_arithmetic import P, draw, times, total
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Tensors,
    backward,
    draw_constants,
    forward,
    input_shapes,
)
from carousel.verify.rules import unproven


def exact(spec: OpSpec, seeds: range) -> CheckResult:
    """Return which part of the derivatives differs: none, or the backward pass is wrong."""
    if unproven():
        return CheckResult(1.0, 0.0, f"the rules of {unproven()} are not proven")
    return worst(figure for seed in seeds for figure in _of_shape(spec, seed))


def _of_shape(spec: OpSpec, seed: int) -> list[CheckResult]:
    """Return a figure for each input of a random shape; its cases are the input's entries."""
    generator = torch.Generator().manual_seed(seed)
    sizes = spec.sizes(random.Random(seed))
    inputs = {
        name: draw(shape, generator)
        for name, shape in input_shapes(spec, sizes, has_optional=seed % 3 > 0).items()
    }
    constants: Tensors = {
        name: field(draw(tuple(x.shape), generator)) if x.is_floating_point() else x
        for name, x in draw_constants(spec, sizes, generator).items()
    }
    case = Case(spec, sizes, inputs, constants)
    gradients, derivatives = by_both_ways(case, generator)
    return [
        CheckResult(
            _differing(gradients[name], d),
            bound=0.0,
            where=f"{name} (seed {seed})",
            cases=d.numel(),
        )
        for name, d in derivatives.items()
    ]


def _differing(got: Tensor, want: Tensor) -> float:
    return (got != want).double().mean().item() if got.shape == want.shape else 1.0


def by_both_ways(case: Case, generator: torch.Generator) -> tuple[Tensors, Tensors]:
    """Return the gradients of a random weighted sum of the outputs: backward, and forward."""
    tangents = dict(zip(case.inputs, _directions(list(case.inputs.values())), strict=True))
    moving: Tensors = {name: field(x, tangents[name]) for name, x in case.inputs.items()}
    outputs, _ = forward(case._replace(inputs=moving))

    cotangents = {name: draw(tuple(y.shape), generator) for name, y in outputs.items()}
    along = [
        total(times(tangent(outputs[name]), u).flatten(1), 1) for name, u in cotangents.items()
    ]
    slopes = torch.stack(along).sum(0) % P  # (N,): of the weighted sum, in each direction
    parts = torch.split(slopes, [x.numel() for x in case.inputs.values()])
    derivatives = {
        name: d.view(x.shape) for (name, x), d in zip(case.inputs.items(), parts, strict=True)
    }

    still = case._replace(inputs=_constants(case.inputs))
    _, saved = forward(still)
    gradients = backward(still, _constants(cotangents), saved)
    return {name: plain(d) for name, d in gradients.items()}, derivatives


def _directions(inputs: list[Tensor]) -> list[Tensor]:
    """Return the unit directions of all entries of all inputs, (N, *shape) for each input."""
    sizes = [x.numel() for x in inputs]
    parts = torch.split(torch.eye(sum(sizes), dtype=torch.int64), sizes, dim=1)
    return [part.reshape(-1, *x.shape) for part, x in zip(parts, inputs, strict=True)]


def _constants(tensors: Tensors) -> Tensors:
    return {name: field(x) for name, x in tensors.items()}
