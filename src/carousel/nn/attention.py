"""Scaled dot-product attention: with its weights, or in linear memory.

Shapes: B batch, N heads, T queries, S keys, K features of a query, M features of a value.
"""

import math
from typing import Any

import torch
from torch import Tensor

from carousel.kernels.dispatch import AUTOGRAD, Backend, choose
from carousel.nn.hand_derived import HandDerived
from carousel.ops import attention, flash_attention
from carousel.ops.attention import ALL, AttentionMask

# A mask is passed in parts: torch.compile of torch 2.11 does not take a tuple.


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    context: int | None,
    first: Tensor | None,
    bias: Tensor | None,
    keep: Tensor | None,
) -> tuple[Any, ...]:
    """Return y and the weights (B, N, T, S), which are saved."""
    y, weights, saved = attention.forward(q, k, v, AttentionMask(context, first, bias), keep)
    return (y, weights), saved, None if bias is None else bias.shape


def _backward(ctx: Any, dy: Tensor | None, dweights: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = attention.Saved(*ctx.saved_tensors)
    (bias_shape,) = ctx.constants
    if dy is None:
        dy = saved.q.new_zeros(*saved.q.shape[:-1], saved.v.shape[-1])
    dq, dk, dv, ds = attention.backward(dy, saved, dweights)
    dbias = ds.sum_to_size(bias_shape) if ctx.needs_input_grad[5] else None
    return dq, dk, dv, None, None, dbias, None


def _flash_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    context: int | None,
    first: Tensor | None,
    bias: Tensor | None,
) -> tuple[Any, ...]:
    """Return y, in memory linear in T and S; the bias is a constant."""
    mask = AttentionMask(context, first, bias)
    block = block_size(q, mask)
    y, saved = flash_attention.forward(q, k, v, mask, block=block)
    return y, (*saved[:-1], first, bias), context, block


def _flash_backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, y, log_total, first, bias = ctx.saved_tensors
    context, block = ctx.constants
    saved = flash_attention.Saved(q, k, v, y, log_total, AttentionMask(context, first, bias))
    return *flash_attention.backward(dy, saved, block=block), None, None, None


# Without zeros (B, N, T, S) where no loss reads the weights.
_attention = HandDerived("Attention", _forward, _backward, materialize_grads=False)
_flash_attention = HandDerived("FlashAttention", _flash_forward, _flash_backward)


def block_size(q: Tensor, mask: AttentionMask) -> int:
    """Return how many queries, and keys, a block holds: its scores are about 2²⁰ numbers.

    Smaller ones cost more to begin than to compute, and threads meet more often; larger ones leave
    the cache. A window narrower than a block would leave most of it unseen.
    """
    across = math.isqrt(2**20 // max(1, q.shape[0] * q.shape[1]))
    widest = 512 if mask.context is None else min(512, mask.context)
    return max(64, min(widest, across))


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask = ALL, *, backend: Backend = "auto"
) -> Tensor:
    """Return y (B, N, T, M), in memory linear in T and S unless the bias wants a gradient.

    The arguments are those of attention_with_weights. Where torch is to differentiate, by
    `backend="autograd"`, it meets the plain form, whose memory is quadratic.
    """
    wants_gradient = mask.bias is not None and mask.bias.requires_grad
    is_plain = choose(backend, q, k, v, mask.bias) is AUTOGRAD or (
        wants_gradient and torch.is_grad_enabled()
    )
    if is_plain or q.shape[-2] == 0:
        return attention_with_weights(q, k, v, mask, backend=backend)[0]
    y: Tensor = _flash_attention.apply(*_single(q, k, v), *_in_single(mask))
    return y.to(q.dtype)


def attention_with_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AttentionMask = ALL,
    keep: Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Return y (B, N, T, M) and the weights (B, N, T, S) with which it averages the values.

    Half precision is for what goes in and comes out: sums of many keys do not survive in it.

    Args:
        q: Queries, (B, N, T, K).
        k: Keys, (B, N, S, K).
        v: Values, (B, N, S, M).
        mask: Which queries see which keys.
        keep: Multiplies the weights: 0 where one is dropped, 1/(1 - probability) elsewhere.
        backend: "bptt" uses the hand-derived backward pass, "autograd" torch's; "auto" follows
            `carousel.backend`.
    """
    if k.shape[-2] == 0:
        weights = q @ k.mT  # of no key; the sums over them are 0
        return weights @ v, weights
    dtype, mask = q.dtype, _in_single(mask)
    q, k, v = _single(q, k, v)
    y, weights = _attention(q, k, v, *mask, keep, backend=backend)
    return y.to(dtype), weights.to(dtype)


def _single(*tensors: Tensor) -> list[Tensor]:
    """Return each in single precision at least."""
    return [t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in tensors]


def _in_single(mask: AttentionMask) -> AttentionMask:
    return mask if mask.bias is None else mask._replace(bias=_single(mask.bias)[0])
