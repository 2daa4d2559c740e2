"""A layer over a fixed window of positions: what came before recurrence.

Shapes: B sequences, T positions, D features of a position, n positions in a window, H units.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import disable_autocast, hand_derived
from carousel.nn.layer import Layer
from carousel.ops import mlp


class _Windowed(torch.autograd.Function):
    """Windows and tanh layer with their hand-derived reverse; the windows are laid out again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, n: int) -> Tensor:
        """Return h (B, T, H) for x (B, n - 1 + T, D)."""
        h = mlp.layer(mlp.windows(x, n), w, b)
        ctx.save_for_backward(x, w, h)
        ctx.n = n
        return h

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        x, w, h = ctx.saved_tensors
        with disable_autocast(dh.device):
            dwindows, dw, db = mlp.layer_backward(dh, h, mlp.windows(x, ctx.n), w)
            return mlp.windows_backward(dwindows, ctx.n), dw, db, None


class FixedWindow(Layer):
    """One tanh layer that sees n positions side by side, each through weights of its own.

    Parameters: weight (H, n·D), the oldest position first, and bias (H,); drawn as those of
    torch.nn.Linear(n·D, H).

    Source: Bengio et al. 2003, section 2; math/mlp/equations.md, (mlp.2) and (mlp.3).
    """

    def __init__(self, input_size: int, hidden_size: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.weight = nn.Parameter(torch.empty(hidden_size, window * input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        bound = 1 / math.sqrt(window * input_size)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return h (B, T, H) for x (B, n - 1 + T, D): the first window ends at the n-th position.

        It computes in the precision of its weights, also under autocast.
        """
        x = x.to(self.weight.dtype)
        with disable_autocast(x.device):
            if choose("auto", x, self.weight, self.bias) is AUTOGRAD:
                return mlp.layer(mlp.windows(x, self.window), self.weight, self.bias)
            h: Tensor = _Windowed.apply(  # type: ignore[no-untyped-call]
                x, self.weight, self.bias, self.window
            )
            return h

    def extra_repr(self) -> str:
        """Say the sizes."""
        units, width = self.weight.shape
        return f"{width // self.window}, {units}, window={self.window}"
