"""A transformer's block: causal attention over a sliding window, and a feed-forward layer.

Shapes: B sequences, T new positions, D features of a position, N heads, K = D/N features of a head,
C positions that a query sees, its own included (the context).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.nn.attention import attend
from carousel.nn.autograd import disable_autocast
from carousel.nn.normalization import LayerNorm
from carousel.ops.attention import AttentionMask
from carousel.ops.positions import rotate, rotations


class Cache(NamedTuple):
    """Keys and values of the last C positions, the newest last; rotary keys are not yet turned.

    Attributes:
        k: (B, N, C, K).
        v: (B, N, C, K).
        filled: (B,), int64: how many of the C, the last ones, have been written.
    """

    k: Tensor
    v: Tensor
    filled: Tensor


class CausalSelfAttention(nn.Module):
    """Each position takes from itself and the C - 1 before it, in N heads.

    Parameters as those of torch.nn.MultiheadAttention: in_proj (3D, D) for queries, keys and values
    one above the other, out_proj (D, D).

    Args:
        features: D.
        num_heads: N, a divisor of D.
        context: C.
        is_rotary: Whether queries and keys are turned by their positions.

    Source: Vaswani et al. 2017, section 3.2; Su et al. 2021; math/attention/equations.md.
    """

    def __init__(self, features: int, num_heads: int, context: int, *, is_rotary: bool) -> None:
        super().__init__()
        self.num_heads, self.context, self.is_rotary = num_heads, context, is_rotary
        self.in_proj = nn.Linear(features, 3 * features)
        self.out_proj = nn.Linear(features, features)

    def forward(self, x: Tensor, past: Cache | None) -> tuple[Tensor, Cache]:
        """Return y (B, T, D), and the cache after the last position; None: nothing came before."""
        heads = self.in_proj(x).unflatten(-1, (3, self.num_heads, -1))  # (B, T, 3, N, K)
        q, k, v = heads.to(self.in_proj.weight.dtype).permute(2, 0, 3, 1, 4)  # (B, N, T, K) each
        first = None
        if past is not None:
            k, v = torch.cat([past.k, k], dim=2), torch.cat([past.v, v], dim=2)  # (B, N, C + T, K)
            first = self.context - past.filled
        new = self._last(k, v, past, x.shape[1])
        with disable_autocast(x.device):
            if self.is_rotary:
                q, k = self._turned(q, k)
            y = attend(q, k, v, AttentionMask(self.context, first))  # (B, N, T, K)
        return self.out_proj(y.transpose(1, 2).flatten(2)), new

    def _turned(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Turn queries and keys by their places in k: only differences of places have a meaning."""
        places = torch.arange(k.shape[2], device=k.device)
        cos, sin = rotations(places, k.shape[3], k.dtype)
        new = slice(-q.shape[2], None)
        return rotate(q, cos[new], sin[new]), rotate(k, cos, sin)

    def _last(self, k: Tensor, v: Tensor, past: Cache | None, steps: int) -> Cache:
        """Return the last C of all keys and values; where there are fewer, zeros stand before."""
        missing = max(0, self.context - k.shape[2])
        k, v = (F.pad(part, (0, 0, missing, 0))[:, :, -self.context :] for part in (k, v))
        filled = k.new_zeros(len(k), dtype=torch.int64) if past is None else past.filled
        return Cache(k, v, (filled + steps).clamp(max=self.context))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)): what is added is normalised before.

    Args:
        features: D, the width of the residual stream.
        hidden_size: Units of the feed-forward layer.
        num_heads: N, a divisor of D.
        context: C.
        is_rotary: Whether queries and keys are turned by their positions.
        dropout: Probability of zeroing a feature of what is added.

    Sources: Vaswani et al. 2017; pre-norm: Xiong et al. 2020; GELU: Hendrycks and Gimpel 2016.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        num_heads: int,
        context: int,
        *,
        is_rotary: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(features)
        self.attention = CausalSelfAttention(features, num_heads, context, is_rotary=is_rotary)
        self.feed_forward_norm = LayerNorm(features)
        self.expand = nn.Linear(features, hidden_size)
        self.contract = nn.Linear(hidden_size, features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Cache | None) -> tuple[Tensor, Cache]:
        """Return y (B, T, D), and the cache after the last position."""
        taken, new = self.attention(self.attention_norm(x), past)
        x = x + self.dropout(taken)
        thought = self.contract(F.gelu(self.expand(self.feed_forward_norm(x))))
        return x + self.dropout(thought), new
