"""The cross-entropy of a softmax, as autograd meets it."""

from typing import Any

import torch
from torch import Tensor

from carousel.kernels import cross_entropy as kernel
from carousel.kernels.dispatch import AUTOGRAD, choose, choose_kernel
from carousel.nn.autograd import hand_derived
from carousel.ops import cross_entropy as op


class _CrossEntropy(torch.autograd.Function):
    """The op, or the kernel that is equal to it, with the hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, by: Any, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each target."""
        losses: Tensor
        losses, p = by.forward(logits, targets)
        ctx.save_for_backward(p, targets)
        ctx.by = by
        return losses

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dlosses: Tensor) -> tuple[None, Tensor, None]:
        """Return the gradient of the logits."""
        return None, ctx.by.backward(dlosses, *ctx.saved_tensors), None


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log softmax(logits) (…, V) at each target (…), in nats."""
    if choose("auto", logits) is AUTOGRAD:
        return op.forward(logits, targets)[0]
    if not choose_kernel(lambda: kernel.unsupported_reason(logits, targets)):
        losses: Tensor = _CrossEntropy.apply(op, logits, targets)  # type: ignore[no-untyped-call]
        return losses
    rows = logits.reshape(-1, logits.shape[-1])
    losses = _CrossEntropy.apply(kernel, rows, targets.flatten())  # type: ignore[no-untyped-call]
    return losses.view(targets.shape)
