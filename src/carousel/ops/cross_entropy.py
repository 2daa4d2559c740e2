"""Cross-entropy of a softmax, and its backward pass derived by hand.

Derivation: math/mlp/equations.md.
"""

import torch
from torch import Tensor

from carousel.ops.softmax import softmax_and_log_total


def forward(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log p of each target, of the shape of targets, and p, of the shape of logits."""
    # Else log Σ e^z and the score would be two large numbers, and the loss what digits they leave.
    logits = logits - logits.amax(-1, keepdim=True)
    p, log_total = softmax_and_log_total(logits)
    score = logits.gather(-1, targets.unsqueeze(-1))
    return (log_total - score).squeeze(-1), p  # (ce.1)


def backward(dloss: Tensor, p: Tensor, targets: Tensor) -> Tensor:
    """Pull the gradient of each target's loss back to the logits."""
    here = targets.unsqueeze(-1)
    dlogits = p.scatter_add(-1, here, -torch.ones_like(here, dtype=p.dtype))  # (ce.2)
    return dlogits * dloss.unsqueeze(-1)
