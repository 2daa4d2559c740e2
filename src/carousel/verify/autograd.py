"""Autograd: each hand-derived backward pass against torch's differentiation of the same forward."""

import torch

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

BOUND = 1e-12


def autograd(spec: OpSpec, seeds: range) -> CheckResult:
    """Return the largest relative difference of a gradient, in float64."""
    return worst(_one(draw_case(spec, seed), seed) for seed in seeds)


def _one(case: Case, seed: int) -> CheckResult:
    outputs, saved = forward(case)
    cotangents = draw_cotangents(outputs, seed)
    got = backward(case, cotangents, saved)
    return distance(got, by_autograd(case, cotangents), BOUND, f"seed {seed}")


def by_autograd(case: Case, cotangents: Tensors) -> Tensors:
    """Return the gradient of the weighted sum, as torch finds it, in layers too."""
    inputs = {name: x.detach().requires_grad_() for name, x in case.inputs.items()}
    with carousel.backend("autograd"):
        outputs, _ = forward(case._replace(inputs=inputs))
    gradients = torch.autograd.grad(
        list(outputs.values()), list(inputs.values()), list(cotangents.values())
    )
    return dict(zip(inputs, gradients, strict=True))
