"""The cross-entropy of a softmax, as autograd meets it."""

from typing import Any

import torch
from torch import Tensor

from carousel.kernels.implementation import AUTOGRAD, choose
from carousel.layers.autograd import refuse_second_derivative
from carousel.ops import cross_entropy as op


class _CrossEntropy(torch.autograd.Function):
    """The op with its hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each target."""
        losses, p = op.forward(logits, targets)
        ctx.save_for_backward(p, targets)
        return losses

    @staticmethod
    def backward(ctx: Any, dlosses: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the logits."""
        refuse_second_derivative()
        return op.backward(dlosses, *ctx.saved_tensors), None


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log softmax(logits) (…, V) at each target (…), in nats."""
    if choose() is AUTOGRAD:
        return op.forward(logits, targets)[0]
    losses: Tensor = _CrossEntropy.apply(logits, targets)  # type: ignore[no-untyped-call]
    return losses
