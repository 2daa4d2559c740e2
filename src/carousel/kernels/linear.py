"""A linear map with products of bf16 numbers as a CPU kernel. N rows, P features in, V out."""

from typing import Any

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.tensors import unsupported_tensor


def unsupported_reason(
    h: Tensor, weight: Tensor, bias: Tensor | None, product: torch.dtype
) -> str | None:
    """Say why the kernel cannot run this; None if it can. May compile it: that comes last."""
    if product != torch.bfloat16:
        return f"the kernel has no products of {product}"
    tensors = [h, weight] if bias is None else [h, weight, bias]
    return unsupported_tensor(*tensors) or fused.unavailable_reason(product)


def forward(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return h·weightᵀ + bias (N, V), summed in float32, for h (N, P)."""
    z: Tensor = _operators().linear(h, weight, bias)
    return z


def backward(dz: Tensor, h: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of h, in its type, and of the weight and the bias in float32."""
    dh, dweight, dbias = _operators().linear_backward(dz, h, weight)
    return dh, dweight, dbias


def _operators() -> Any:
    return torch.ops.carousel
