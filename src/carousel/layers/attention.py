"""Attention as autograd meets it: the two autograd.Functions, and which of them runs.

Shapes: B batch, N heads, T queries, S keys, K features of a query, M features of a value.
"""

from typing import Any

import torch
from torch import Tensor

from carousel.kernels.implementation import AUTOGRAD, choose
from carousel.layers.autograd import own_precision, refuse_second_derivative
from carousel.ops import attention, attention_in_blocks
from carousel.ops.attention import ALL, Sight


class Attention(torch.autograd.Function):
    """Attention that keeps its weights (B, N, T, S), with the hand-derived reverse."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        sight: Sight,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return (y, weights); the bias stands apart from the sight, for it has a gradient."""
        y, weights, trace = attention.forward(q, k, v, sight._replace(bias=bias), keep)
        ctx.save_for_backward(*trace)
        ctx.bias_shape = None if bias is None else bias.shape
        return y, weights

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dweights: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        refuse_second_derivative()
        trace = attention.Trace(*ctx.saved_tensors)
        with own_precision(dy.device):
            dq, dk, dv, ds = attention.backward(dy, trace, dweights)
        dbias = None if ctx.bias_shape is None else ds.sum_to_size(ctx.bias_shape)
        return dq, dk, dv, dbias, None, None


class AttentionInBlocks(torch.autograd.Function):
    """The same attention in memory linear in T and S; its bias is a constant."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sight: Sight) -> Tensor:
        """Return y."""
        y, trace = attention_in_blocks.forward(q, k, v, sight)
        ctx.save_for_backward(*trace[:-1], sight.first, sight.bias)
        ctx.context = sight.context
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        refuse_second_derivative()
        q, k, v, y, log_total, first, bias = ctx.saved_tensors
        sight = Sight(ctx.context, first, bias)
        trace = attention_in_blocks.Trace(q, k, v, y, log_total, sight)
        with own_precision(dy.device):
            return *attention_in_blocks.backward(dy, trace), None


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight = ALL) -> Tensor:
    """Return y (B, N, T, M), in memory linear in T and S unless the bias wants a gradient.

    Under `carousel.backend("autograd")` torch differentiates the plain form.
    """
    wants_gradient = sight.bias is not None and sight.bias.requires_grad
    if choose() is AUTOGRAD or wants_gradient:
        return attend_and_tell(q, k, v, sight)[0]
    y: Tensor = AttentionInBlocks.apply(q, k, v, sight)  # type: ignore[no-untyped-call]
    return y


def attend_and_tell(
    q: Tensor, k: Tensor, v: Tensor, sight: Sight = ALL, keep: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return y (B, N, T, M) and the weights (B, N, T, S) with which it averages the values.

    Args:
        q: Queries, (B, N, T, K).
        k: Keys, (B, N, S, K).
        v: Values, (B, N, S, M).
        sight: Who sees whom.
        keep: Multiplies the weights: 0 where one is dropped, 1/(1 - probability) elsewhere.
    """
    if choose() is AUTOGRAD:
        return attention.forward(q, k, v, sight, keep)[:2]
    y, weights = Attention.apply(  # type: ignore[no-untyped-call]
        q, k, v, sight.bias, sight._replace(bias=None), keep
    )
    return y, weights
