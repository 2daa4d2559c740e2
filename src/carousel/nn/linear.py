"""A linear map, as autograd meets it: what a model ends in.

B sequences, T positions, P features in, V out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.kernels import linear as kernel
from carousel.kernels.dispatch import choose_kernel
from carousel.nn.autograd import (
    compute_dtype_of,
    disable_autocast,
    hand_derived,
    is_autocast_on,
)


class _Linear(torch.autograd.Function):
    """The kernel with its hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return z (N, V)."""
        ctx.save_for_backward(h, weight)
        ctx.bias_type = None if bias is None else bias.dtype
        return kernel.forward(h, weight, bias)

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        h, weight = ctx.saved_tensors
        with disable_autocast(dz.device):
            dh, dweight, dbias = kernel.backward(dz, h, weight)
        own = None if ctx.bias_type is None else dbias.to(ctx.bias_type)
        return dh, dweight.to(weight.dtype), own


def linear(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return h·weightᵀ + bias, (mlp.4), as torch.nn.functional.linear does.

    Under autocast a kernel, where it runs, returns float32: the products alone are of bf16 numbers.
    What counts is the difference of two logits, and bf16 has three digits for both.

    Args:
        h: Features (B, T, P).
        weight: (V, P).
        bias: (V,).

    Returns:
        (B, T, V).
    """
    if not h.is_contiguous() and h.transpose(0, 1).is_contiguous():
        # Time first, as recurrences have it: to put the fewer logits in order is cheaper.
        return linear(h.transpose(0, 1), weight, bias).transpose(0, 1).contiguous()
    is_lowered = is_autocast_on(weight.device) and weight.dtype == torch.float32
    compute_dtype = compute_dtype_of(weight)
    tensors = h, weight, bias
    if not (
        is_lowered
        and choose_kernel(lambda: kernel.unsupported_reason(*tensors, compute_dtype), *tensors)
    ):
        return F.linear(h, weight, bias)
    z: Tensor = _Linear.apply(h.flatten(0, 1), weight, bias)  # type: ignore[no-untyped-call]
    return z.view(*h.shape[:2], -1)


class Linear(nn.Linear):
    """A linear map whose weight may be another module's: torch.nn.Linear, run by `linear`."""

    def forward(self, h: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return (B, T, V) for h (B, T, P), by a shared weight (V, P) or the module's."""
        return linear(h, self.weight if weight is None else weight, self.bias)
