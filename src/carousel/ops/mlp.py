"""A fixed window of the last n tokens: embedding, window and tanh layer, each forward and backward.

Derivation: math/mlp/equations.md. The logits, (mlp.4), are a linear map of h.
Shapes: B sequences, T positions, V tokens, D features of a token, n tokens in a window, H units.
Source: Bengio, Ducharme, Vincent and Jauvin 2003, section 2.
"""

import torch
from torch import Tensor

from carousel.ops.embedding import look_up, look_up_backward


def embed(ids: Tensor, table: Tensor) -> Tensor:
    """Return the row of the table (V, D) that belongs to each id; id -1, no token at all, is 0."""
    return look_up(ids + 1, torch.cat([torch.zeros_like(table[:1]), table]))  # (…, D)  (mlp.1)


def embed_backward(dx: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
    """Add up, for each token, the gradients of the places where it stood."""
    return look_up_backward(dx, ids + 1, vocab_size + 1)[1:]  # (V, D)  (mlp.5)


def windows(x: Tensor, n: int) -> Tensor:
    """Lay each n neighbours of x (B, n - 1 + T, D) side by side, the oldest first."""
    steps = x.shape[1] - n + 1
    return torch.cat([x[:, k : k + steps] for k in range(n)], dim=-1)  # (B, T, nD)  (mlp.2)


def windows_backward(dw: Tensor, n: int) -> Tensor:
    """Add up, for each of the n - 1 + T places, the gradients of the windows it stood in."""
    steps = dw.shape[1]
    dx = dw.new_zeros(dw.shape[0], n - 1 + steps, dw.shape[-1] // n)
    for k, part in enumerate(dw.chunk(n, dim=-1)):
        dx[:, k : k + steps] += part  # (mlp.6)
    return dx


def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return h = tanh(x wᵀ + b), (B, T, H)."""
    return (x @ w.T + b).tanh()  # (mlp.3)


def layer_backward(dh: Tensor, h: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, w and b."""
    da = dh * (1 - h * h)  # (mlp.7)
    flat = da.flatten(0, 1)  # (B·T, H)
    return da @ w, flat.T @ x.flatten(0, 1), flat.sum(0)  # (mlp.8)
