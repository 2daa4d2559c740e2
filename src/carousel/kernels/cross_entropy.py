"""The cross-entropy of a softmax as a CPU kernel, with the arguments and results of its op."""

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.operators import operators
from carousel.kernels.tensors import unsupported_tensor


def unsupported_reason(logits: Tensor, targets: Tensor) -> str | None:
    """Return why the kernel cannot run this; None if it can. May trigger compilation."""
    if logits.dtype != torch.float32 or targets.dtype != torch.int64:
        return f"the kernel is for float32 and int64, these are {logits.dtype}, {targets.dtype}"
    return unsupported_tensor(logits) or fused.unavailable_reason(torch.float32)


def forward(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log p of each target (N,), and p (N, V).

    Raises:
        IndexError: If a target is not in [0, V).
    """
    losses, p = operators().cross_entropy(logits, targets)
    return losses, p


def backward(dlosses: Tensor, p: Tensor, targets: Tensor) -> Tensor:
    """Pull the gradient of each target's loss back to the logits (N, V)."""
    dlogits: Tensor = operators().cross_entropy_backward(dlosses, p, targets)
    return dlogits
