"""Autograd: each hand-derived reverse against torch's differentiation of the op's time loop."""

import torch

from carousel.verify.cases import (
    Case,
    Tensors,
    Variant,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)
from carousel.verify.figure import Figure, distance, worst

BOUND = 1e-12


def autograd(variant: Variant, seeds: range) -> Figure:
    """Return the largest relative difference of a gradient, in float64."""
    return worst(_one(draw_case(variant, seed, has_bias=seed % 3 > 0), seed) for seed in seeds)


def _one(case: Case, seed: int) -> Figure:
    outputs, trace = forward(case)
    cotangents = draw_cotangents(outputs, seed)
    got = backward(case, cotangents, trace)
    return distance(got, by_autograd(case, cotangents), BOUND, f"seed {seed}")


def by_autograd(case: Case, cotangents: Tensors) -> Tensors:
    """Return the gradient of the weighted sum, as torch finds it."""
    inputs = {name: x.detach().requires_grad_() for name, x in case.inputs.items()}
    outputs, _ = forward(case._replace(inputs=inputs))
    gradients = torch.autograd.grad(
        list(outputs.values()), list(inputs.values()), list(cotangents.values())
    )
    return dict(zip(inputs, gradients, strict=True))
