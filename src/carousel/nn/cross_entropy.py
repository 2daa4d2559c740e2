"""The cross-entropy of a softmax."""

from typing import Any

from torch import Tensor

from carousel.kernels import cross_entropy as kernel
from carousel.kernels.dispatch import choose_kernel
from carousel.nn.hand_derived import HandDerived
from carousel.ops import cross_entropy as op


def _forward(implementation: Any, logits: Tensor, targets: Tensor) -> tuple[Any, ...]:
    """Return the loss of each target; the implementation is the op or the kernel."""
    losses, p = implementation.forward(logits, targets)
    return losses, (p, targets), implementation


def _backward(ctx: Any, dlosses: Tensor) -> tuple[None, Tensor, None]:
    (implementation,) = ctx.constants
    return None, implementation.backward(dlosses, *ctx.saved_tensors), None


_cross_entropy = HandDerived("CrossEntropy", _forward, _backward)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log softmax(logits) (…, V) at each target (…), in nats."""
    losses: Tensor
    if not choose_kernel(lambda: kernel.unsupported_reason(logits, targets), logits):
        losses = _cross_entropy(op, logits, targets)
        return losses
    rows = logits.reshape(-1, logits.shape[-1])
    losses = _cross_entropy.apply(kernel, rows, targets.flatten())
    return losses.view(targets.shape)
