"""An op and its own reverse as autograd meets them, so that torch's checks can be given both."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Tensors to the output, and what pulls its gradient back to those of the tensors, in order.
Op = Callable[..., tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]]


def by_hand(op: Op, *tensors: Tensor) -> Tensor:
    """Return the op's output; its gradient is the hand-derived one, whatever the op is made of."""
    y: Tensor = _HandDerived.apply(op, *tensors)
    return y


class _HandDerived(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: Op, *tensors: Tensor) -> Tensor:
        y, ctx.reverse = op(*tensors)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.reverse(dy)


def with_gradients(run: Callable[..., Tensor], **inputs: Tensor) -> dict[str, Tensor]:
    """The output, and the gradients of a random weighted sum of it to every input, by name."""
    y = run(*inputs.values())
    generator = torch.Generator().manual_seed(1)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
    gradients = torch.autograd.grad(y, list(inputs.values()), dy, materialize_grads=True)
    return {"y": y} | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers, none of them 0, which want a gradient; the same ones in every precision."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()
