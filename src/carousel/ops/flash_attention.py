"""Attention whose memory grows with the sequence, not with its square; the same numbers.

Scores are computed block by block, used, and dropped; the backward pass computes them again. One
number a query is saved. Blocks that the mask hides completely are not computed.
Derivation: math/attention/equations.md.
Shapes: B batch, N heads, T queries, S keys, K features of a query, M features of a value.
Sources: Milakov and Gimelshein 2018; Dao et al. 2022, algorithms 1 and 4.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from carousel.ops.attention import ALL, AttentionMask, build_mask

BLOCK = 64  # queries, and keys, of a block, unless the caller knows better


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass."""

    q: Tensor  # (B, N, T, K)
    k: Tensor  # (B, N, S, K)
    v: Tensor  # (B, N, S, M)
    y: Tensor  # (B, N, T, M)
    log_total: Tensor  # (B, N, T, 1): log Σ e^s over the keys that a query sees
    sight: AttentionMask


def forward(
    q: Tensor, k: Tensor, v: Tensor, sight: AttentionMask = ALL, *, block: int = BLOCK
) -> tuple[Tensor, Saved]:
    """Return y (B, N, T, M): for each query, the weighted mean of the values it sees."""
    outputs, log_totals = [], []
    for rows in _blocks(q.shape[-2], block):
        q_i = q[..., rows, :]
        largest = q.new_full((*q_i.shape[:-1], 1), torch.finfo(q.dtype).min)
        total = torch.zeros_like(largest)
        y_i = q.new_zeros(*q_i.shape[:-1], v.shape[-1])
        for columns in _seen(rows, q, k, sight, block):
            s = _scores(q, k, sight, rows, columns)
            larger = torch.maximum(largest, s.amax(-1, keepdim=True))  # (blocks.1)
            e = (s - larger).exp()
            shrunk = (largest - larger).exp()
            total = total * shrunk + e.sum(-1, keepdim=True)  # (blocks.2)
            y_i = y_i * shrunk + e @ v[..., columns, :]  # (blocks.3)
            largest = larger
        total = torch.where(total > 0, total, 1)  # a query that sees nothing takes nothing
        outputs.append(y_i / total)  # (blocks.4)
        log_totals.append(largest + total.log())  # (blocks.5)
    y, log_total = torch.cat(outputs, dim=-2), torch.cat(log_totals, dim=-2)
    return y, Saved(q, k, v, y, log_total, sight)


def backward(dy: Tensor, saved: Saved, *, block: int = BLOCK) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v; a bias is a constant here."""
    q, k, v, y, log_total, sight = saved
    scale = q.shape[-1] ** -0.5
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    along = (dy * y).sum(-1, keepdim=True)  # (blocks.6): Σ_j dp p, without p
    for rows in _blocks(q.shape[-2], block):
        dy_i = dy[..., rows, :]
        for columns in _seen(rows, q, k, sight, block):
            p = (_scores(q, k, sight, rows, columns) - log_total[..., rows, :]).exp()  # (blocks.7)
            dv[..., columns, :] += p.mT @ dy_i  # (att.5)
            ds = p * (dy_i @ v[..., columns, :].mT - along[..., rows, :])  # (blocks.8)
            dq[..., rows, :] += ds @ k[..., columns, :] * scale  # (att.8)
            dk[..., columns, :] += ds.mT @ q[..., rows, :] * scale  # (att.9)
    return dq, dk, dv


def _scores(q: Tensor, k: Tensor, sight: AttentionMask, rows: slice, columns: slice) -> Tensor:
    """Return the scores of a block as (att.1) and (att.2) have them."""
    s: Tensor = (q[..., rows, :] * q.shape[-1] ** -0.5) @ k[..., columns, :].mT
    if sight.bias is not None:
        bias = sight.bias.expand(*s.shape[:2], q.shape[-2], k.shape[-2])
        s = s + bias[..., rows, columns]
    unseen = build_mask(
        sight, q.shape[-2], k.shape[-2], rows=rows, columns=columns, device=q.device
    )
    return s if unseen is None else s.masked_fill(unseen, float("-inf"))


def _seen(rows: slice, q: Tensor, k: Tensor, sight: AttentionMask, block: int) -> Iterator[slice]:
    """Yield the blocks of keys of which a block of queries sees any."""
    keys = k.shape[-2]
    if sight.context is None:
        return _blocks(keys, block)
    past = keys - q.shape[-2]
    return _blocks(past + rows.stop, block, start=max(0, past + rows.start - sight.context + 1))


def _blocks(stop: int, block: int, start: int = 0) -> Iterator[slice]:
    for begin in range(start, stop, block):
        yield slice(begin, min(begin + block, stop))
