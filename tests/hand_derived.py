"""An op and its own reverse as autograd meets them, so that torch's checks can be given both."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from carousel.verify import op_spec
from carousel.verify.op_spec import Case, Tensors


def by_hand(case: Case) -> Tensors:
    """Return a case's outputs; their gradients are the hand-derived ones."""
    names: list[str] = []
    outputs = _HandDerived.apply(case, names, *case.inputs.values())
    return dict(zip(names, outputs, strict=True))


class _HandDerived(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, case: Case, names: list[str], *tensors: Tensor) -> tuple[Tensor, ...]:
        case = case._replace(inputs=dict(zip(case.inputs, tensors, strict=True)))
        outputs, trace = op_spec.forward(case)
        names.extend(outputs)
        ctx.reverse = lambda arriving: op_spec.backward(case, arriving, trace)
        ctx.names = names
        return tuple(outputs.values())

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.reverse(dict(zip(ctx.names, arriving, strict=True)))
        return None, None, *gradients.values()


def and_gradients(outputs: Tensors, inputs: Tensors) -> Tensors:
    """The outputs, and the gradients of a random weighted sum of them to every input."""
    generator = torch.Generator().manual_seed(1)
    weights = [
        torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
        for y in outputs.values()
    ]
    gradients = torch.autograd.grad(
        list(outputs.values()), list(inputs.values()), weights, materialize_grads=True
    )
    return outputs | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def with_gradients(run: Callable[..., Tensor], **inputs: Tensor) -> Tensors:
    """The output, and the gradients of a random weighted sum of it to every input, by name."""
    return and_gradients({"y": run(*inputs.values())}, inputs)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers, none of them 0, which want a gradient; the same ones in every precision."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()
