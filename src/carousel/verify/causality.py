"""Causality: no output depends on a later input or another row; each depends on all before it."""

import torch
from torch import Tensor

from carousel.verify.cases import STATE, Case, Variant, draw_case, forward
from carousel.verify.figure import Figure, worst


def causality(variant: Variant, seeds: range) -> Figure:
    """Return the part of all dependences, of one output on one input, that is not as it must be."""
    return worst(_one(_alive(draw_case(variant, seed)), seed) for seed in seeds)


def _one(case: Case, seed: int) -> Figure:
    wrong = torch.cat([_by_value(case, seed), _by_gradient(case)]).double().mean().item()
    return Figure(wrong, bound=0.0, where=f"seed {seed}", cases=1)


def _by_value(case: Case, seed: int) -> Tensor:
    """Change x[s, b]: tell where an output changes that comes before s, or is of another row."""
    y = forward(case)[0]["y"]
    steps, rows, _ = y.shape
    generator = torch.Generator().manual_seed(seed)
    wrong = []
    for s in range(steps):
        for b in range(rows):
            x = case.inputs["x"].clone()
            x[s, b] += torch.randn(x.shape[-1], generator=generator, dtype=x.dtype)
            moved = forward(case._replace(inputs={**case.inputs, "x": x}))[0]["y"]
            changed = (moved != y).any(-1)  # (T, B)
            changed[s:, b] = False  # as they may
            wrong.append(changed.flatten())
    return torch.cat(wrong)


def _by_gradient(case: Case) -> Tensor:
    """Differentiate y[t, b]: tell where a gradient is zero and must not be, or the reverse.

    A change of the value would do as well, if rounding did not swallow small ones.
    """
    inputs = {name: x.clone().requires_grad_() for name, x in case.inputs.items()}
    y = forward(case._replace(inputs=inputs))[0]["y"]
    steps, rows, features = y.shape
    u = torch.arange(1, features + 1, dtype=y.dtype)  # no unit's share may cancel another's
    sources = [inputs[name] for name in ("x", *STATE) if name in inputs]
    wrong = []
    for t in range(steps):
        for b in range(rows):
            gradients = torch.autograd.grad(
                y[t, b] @ u, sources, retain_graph=True, materialize_grads=True
            )
            dx, *dstate = ((d != 0).any(-1) for d in gradients)  # (T, B), (B,), …
            before = torch.zeros(steps, rows, dtype=torch.bool)
            before[: t + 1, b] = True
            wrong += [(dx != before).flatten(), *(d != before[0] for d in dstate)]
    return torch.cat(wrong)


def _alive(case: Case) -> Case:
    """A ReLU of what is negative depends on nothing: there, let everything be positive."""
    if case.variant.family.name != "rnn_relu":
        return case
    return case._replace(inputs={name: x.abs() for name, x in case.inputs.items()})
