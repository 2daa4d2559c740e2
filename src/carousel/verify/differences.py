"""Finite differences: each hand-derived gradient against central differences of its forward."""

from itertools import count

import torch
from torch import Tensor

import carousel
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Tensors,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)

# What is left is the fourth power of the step, and the loss's rounding error over the step. Where
# the loss bends sharply, as where a normalised vector is nearly constant, a shorter one decides: a
# gradient that is right comes nearer by the fourth power, one that is wrong stays where it was.
STEP, SHORTER = 1e-4, 2e-5
BOUND = 1e-8


def differences(spec: OpSpec, seeds: range) -> CheckResult:
    """Return the largest relative error of a gradient, in float64, all entries of it moved."""
    return worst(_one(_smooth_case(spec, seed), seed) for seed in seeds)


def _one(case: Case, seed: int) -> CheckResult:
    outputs, saved = forward(case)
    cotangents = draw_cotangents(outputs, seed)
    got = backward(case, cotangents, saved)

    def found(step: float) -> CheckResult:
        return distance(got, by_differences(case, cotangents, step), BOUND, f"seed {seed}")

    figure = found(STEP)
    return figure if figure.holds else found(SHORTER)


def by_differences(case: Case, cotangents: Tensors, step: float) -> Tensors:
    """Return the gradient of the weighted sum, by four values around each entry."""
    with carousel.backend("autograd"):  # vmap goes through no autograd.Function
        return {name: _of_input(case, cotangents, name, step) for name in case.inputs}


def _of_input(case: Case, cotangents: Tensors, name: str, step: float) -> Tensor:
    x = case.inputs[name]
    directions = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)  # (N, *shape)

    def loss(moved: Tensor) -> Tensor:
        outputs, _ = forward(case._replace(inputs={**case.inputs, name: moved}))
        return sum((y * cotangents[key]).sum() for key, y in outputs.items())  # type: ignore[return-value]

    def slope(direction: Tensor) -> Tensor:
        """Return the central difference of fourth order."""
        near, far = step * direction, 2 * step * direction
        differences = 8 * (loss(x + near) - loss(x - near)) - (loss(x + far) - loss(x - far))
        return differences / (12 * step)

    return torch.vmap(slope)(directions).view(x.shape)


def _smooth_case(spec: OpSpec, seed: int) -> Case:
    """Draw until no ReLU is so near to its kink that a step could cross it."""
    cases = (draw_case(spec, seed + 30_000 * again) for again in count())
    return next(case for case in cases if spec.kink(case) > 100 * STEP)
