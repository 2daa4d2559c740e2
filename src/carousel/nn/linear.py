"""The linear map from features to logits.

B sequences, T positions, P features in, V out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.kernels import linear as kernel
from carousel.kernels.dispatch import choose_kernel
from carousel.nn.autograd import compute_dtype_of, is_autocast_on
from carousel.nn.hand_derived import HandDerived


def _forward(h: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Any, ...]:
    """Return z (N, V)."""
    bias_type = None if bias is None else bias.dtype
    return kernel.forward(h, weight, bias), (h, weight), bias_type


def _backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
    h, weight = ctx.saved_tensors
    (bias_type,) = ctx.constants
    dh, dweight, dbias = kernel.backward(dz, h, weight)
    return dh, dweight.to(weight.dtype), None if bias_type is None else dbias.to(bias_type)


_linear = HandDerived("Linear", _forward, _backward)


def linear(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return h·weightᵀ + bias, (mlp.4), as torch.nn.functional.linear does.

    Under autocast the kernel, if it runs, multiplies in bf16 but returns float32: what matters is
    the difference of two logits, and bf16 has three digits for both.

    Args:
        h: Features (B, T, P).
        weight: (V, P).
        bias: (V,).

    Returns:
        (B, T, V).
    """
    if not h.is_contiguous() and h.transpose(0, 1).is_contiguous():
        # Time-major, from a recurrence: it is cheaper to reorder the logits, which are fewer.
        return linear(h.transpose(0, 1), weight, bias).transpose(0, 1).contiguous()
    is_lowered = is_autocast_on(weight.device) and weight.dtype == torch.float32
    compute_dtype = compute_dtype_of(weight)
    tensors = h, weight, bias
    if not (
        is_lowered
        and choose_kernel(lambda: kernel.unsupported_reason(*tensors, compute_dtype), *tensors)
    ):
        return F.linear(h, weight, bias)
    z: Tensor = _linear.apply(h.flatten(0, 1), weight, bias)
    return z.view(*h.shape[:2], -1)


class Linear(nn.Linear):
    """A linear map whose weight may be another module's: torch.nn.Linear, run by `linear`."""

    def forward(self, h: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return (B, T, V) for h (B, T, P), by a shared weight (V, P) or the module's."""
        return linear(h, self.weight if weight is None else weight, self.bias)
