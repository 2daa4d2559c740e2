"""Attention as autograd meets it: the two autograd.Functions, and which of them runs.

Shapes: B batch, N heads, T queries, S keys, K features of a query, M features of a value.
"""

import math
from typing import Any

import torch
from torch import Tensor

from carousel.kernels.dispatch import AUTOGRAD, Backend, choose
from carousel.nn.autograd import disable_autocast, hand_derived
from carousel.ops import attention, flash_attention
from carousel.ops.attention import ALL, AttentionMask


class Attention(torch.autograd.Function):
    """Attention that keeps its weights (B, N, T, S), with the hand-derived reverse."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        context: int | None,
        first: Tensor | None,
        bias: Tensor | None,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return (y, weights). The mask comes in parts: torch.compile of torch 2.11 needs it."""
        y, weights, trace = attention.forward(q, k, v, AttentionMask(context, first, bias), keep)
        ctx.save_for_backward(*trace)
        ctx.bias_shape = None if bias is None else bias.shape
        ctx.set_materialize_grads(False)  # else zeros (B, N, T, S) where no loss reads the weights
        return y, weights

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dy: Tensor | None, dweights: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        trace = attention.Saved(*ctx.saved_tensors)
        if dy is None:
            dy = trace.q.new_zeros(*trace.q.shape[:-1], trace.v.shape[-1])
        with disable_autocast(dy.device):
            dq, dk, dv, ds = attention.backward(dy, trace, dweights)
        dbias = ds.sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[5] else None
        return dq, dk, dv, None, None, dbias, None


class AttentionInBlocks(torch.autograd.Function):
    """The same attention in memory linear in T and S; its bias is a constant."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        context: int | None,
        first: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        """Return y."""
        sight = AttentionMask(context, first, bias)
        ctx.block = block_size(q, sight)
        y, trace = flash_attention.forward(q, k, v, sight, block=ctx.block)
        ctx.save_for_backward(*trace[:-1], sight.first, sight.bias)
        ctx.context = sight.context
        return y

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        q, k, v, y, log_total, first, bias = ctx.saved_tensors
        sight = AttentionMask(ctx.context, first, bias)
        trace = flash_attention.Saved(q, k, v, y, log_total, sight)
        with disable_autocast(dy.device):
            return *flash_attention.backward(dy, trace, block=ctx.block), None, None, None


def block_size(q: Tensor, sight: AttentionMask) -> int:
    """Return how many queries, and keys, a block holds: its scores are about 2²⁰ numbers.

    Smaller ones cost more to begin than to compute, and threads meet more often; larger ones leave
    the cache. A window narrower than a block would leave most of it unseen.
    """
    across = math.isqrt(2**20 // max(1, q.shape[0] * q.shape[1]))
    widest = 512 if sight.context is None else min(512, sight.context)
    return max(64, min(widest, across))


def attend(
    q: Tensor, k: Tensor, v: Tensor, sight: AttentionMask = ALL, *, backend: Backend = "auto"
) -> Tensor:
    """Return y (B, N, T, M), in memory linear in T and S unless the bias wants a gradient.

    The arguments are those of attention_with_weights. Where torch is to differentiate, by
    `backend="autograd"`, it meets the plain form, whose memory is quadratic.
    """
    wants_gradient = sight.bias is not None and sight.bias.requires_grad
    is_plain = choose(backend, q, k, v, sight.bias) is AUTOGRAD or (
        wants_gradient and torch.is_grad_enabled()
    )
    if is_plain or q.shape[-2] == 0:
        return attention_with_weights(q, k, v, sight, backend=backend)[0]
    y: Tensor = AttentionInBlocks.apply(*_single(q, k, v), *_in_single(sight))  # type: ignore[no-untyped-call]
    return y.to(q.dtype)


def attention_with_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sight: AttentionMask = ALL,
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
        sight: Who sees whom.
        keep: Multiplies the weights: 0 where one is dropped, 1/(1 - probability) elsewhere.
        backend: "bptt" the hand-derived reverse, "autograd" torch's; "auto" as the context says.
    """
    if k.shape[-2] == 0:
        weights = q @ k.mT  # of no key; the sums over them are 0
        return weights @ v, weights
    dtype, sight = q.dtype, _in_single(sight)
    q, k, v = _single(q, k, v)
    if choose(backend, q, k, v, sight.bias) is AUTOGRAD:
        y, weights, _ = attention.forward(q, k, v, sight, keep)
    else:
        y, weights = Attention.apply(q, k, v, *sight, keep)  # type: ignore[no-untyped-call]
    return y.to(dtype), weights.to(dtype)


def _single(*tensors: Tensor) -> list[Tensor]:
    """Return each in single precision at least."""
    return [t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in tensors]


def _in_single(sight: AttentionMask) -> AttentionMask:
    return sight if sight.bias is None else sight._replace(bias=_single(sight.bias)[0])
