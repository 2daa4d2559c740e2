"""Scaled dot-product attention: forward, and backward derived by hand.

Derivation: math/attention/equations.md. Index letters are the same there and in every einsum:
b batch, n head, i query, j key, k feature of a head.
Shapes: B batch, N heads, T queries, S keys, K features of a query, M features of a value.
Source: Vaswani et al. 2017, section 3.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor, einsum

from carousel.ops.softmax import softmax, softmax_backward


class AttentionMask(NamedTuple):
    """The keys that each query sees, and a bias added to their scores; by default all, and none.

    Attributes:
        context: The queries are the last T of the S positions, and each sees so many positions:
            its own and those just before it. None: a query sees every key.
        first: (B,): the first key that is one; those before it are not yet written.
        bias: Added to the scores, of a shape that broadcasts to (B, N, T, S); -inf hides a key.
    """

    context: int | None = None
    first: Tensor | None = None
    bias: Tensor | None = None


ALL = AttentionMask()


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass."""

    q: Tensor  # (B, N, T, K)
    k: Tensor  # (B, N, S, K)
    v: Tensor  # (B, N, S, M)
    p: Tensor  # (B, N, T, S): how much each query takes of each value
    keep: Tensor | None  # (B, N, T, S): multiplies p (dropout)


def forward(
    q: Tensor, k: Tensor, v: Tensor, sight: AttentionMask = ALL, keep: Tensor | None = None
) -> tuple[Tensor, Tensor, Saved]:
    """Return, for each query, the weighted mean of the values of the keys that it sees.

    Returns:
        y (B, N, T, M), and the weights of the averages (B, N, T, S), after the dropout.
    """
    scores = einsum("bnik,bnjk->bnij", q, k) * q.shape[-1] ** -0.5  # (att.1)
    if sight.bias is not None:
        scores = scores + sight.bias
    unseen = build_mask(sight, *scores.shape[-2:], device=q.device)
    if unseen is not None:
        scores = scores.masked_fill(unseen, float("-inf"))  # (att.2)
    p = softmax(scores)  # (att.3)
    weights = p if keep is None else p * keep
    y = einsum("bnij,bnjk->bnik", weights, v)  # (att.4)
    return y, weights, Saved(q, k, v, p, keep)


def backward(
    dy: Tensor, saved: Saved, dweights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v and of the scores, which is that of the bias."""
    q, k, v, p, keep = saved
    dv = einsum("bnij,bnik->bnjk", p if keep is None else p * keep, dy)  # (att.5)
    dp = einsum("bnik,bnjk->bnij", dy, v)  # (att.6)
    dp = dp if dweights is None else dp + dweights
    ds = softmax_backward(dp if keep is None else dp * keep, p)  # (att.7): 0 where unseen, as p is
    scale = q.shape[-1] ** -0.5
    dq = einsum("bnij,bnjk->bnik", ds, k) * scale  # (att.8)
    dk = einsum("bnij,bnik->bnjk", ds, q) * scale  # (att.9)
    return dq, dk, dv, ds


def build_mask(
    sight: AttentionMask,
    queries: int,
    keys: int,
    *,
    rows: slice = slice(None),
    columns: slice = slice(None),
    device: torch.device | None = None,
) -> Tensor | None:
    """Return what is hidden from whom, (1 or B, 1, T, S), of all or of a block; None: nothing."""
    unseen = None
    j = torch.arange(keys, device=device)[columns]
    if sight.context is not None:
        i = torch.arange(keys - queries, keys, device=device)[rows].unsqueeze(-1)
        unseen = ((j > i) | (j <= i - sight.context))[None, None]
    if sight.first is not None:
        unwritten = (j < sight.first.unsqueeze(-1))[:, None, None]  # (B, 1, 1, S)
        unseen = unwritten if unseen is None else unseen | unwritten
    return unseen
