"""A linear map with products of bf16 numbers as a CPU kernel. N rows, P features in, V out."""

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.operators import operators
from carousel.kernels.tensors import unsupported_tensor


def unsupported_reason(
    h: Tensor, weight: Tensor, bias: Tensor | None, compute_dtype: torch.dtype
) -> str | None:
    """Return why the kernel cannot run this; None if it can. May trigger compilation."""
    if compute_dtype != torch.bfloat16:
        return f"the kernel has no products of {compute_dtype}"
    tensors = [h, weight] if bias is None else [h, weight, bias]
    return unsupported_tensor(*tensors) or fused.unavailable_reason(compute_dtype)


def forward(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return h·weightᵀ + bias (N, V), summed in float32, for h (N, P)."""
    z: Tensor = operators().linear(h, weight, bias)
    return z


def backward(dz: Tensor, h: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of h, in its type, and of the weight and the bias in float32."""
    dh, dweight, dbias = operators().linear_backward(dz, h, weight)
    return dh, dweight, dbias
