"""Softmax, and its backward pass derived by hand.

Derivation: math/attention/equations.md.
"""

import torch
from torch import Tensor


def softmax(s: Tensor) -> Tensor:
    """Return p = e^s / Σ e^s over the last axis; a row of which every s is -inf gets zeros."""
    return _shares(s)[0]


def softmax_backward(dp: Tensor, p: Tensor) -> Tensor:
    """Pull dL/dp back to s."""
    return p * (dp - (dp * p).sum(-1, keepdim=True))  # (softmax.4)


def softmax_and_log_total(s: Tensor) -> tuple[Tensor, Tensor]:
    """Return p, and log Σ e^s (…, 1), which the cross-entropy needs beside it."""
    p, shift, total = _shares(s)
    return p, shift + total.log()  # (softmax.3)


def _shares(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Where all is -inf the shift must be finite, for -inf - (-inf) is not a number.
    shift = s.amax(-1, keepdim=True).clamp(min=torch.finfo(s.dtype).min)
    e = (s - shift).exp()  # (softmax.1)
    total = e.sum(-1, keepdim=True).clamp(min=1)  # at least e⁰, where anything is finite
    return e / total, shift, total  # (softmax.2)
