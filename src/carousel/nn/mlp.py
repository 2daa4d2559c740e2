"""The fixed-window layer (Bengio et al. 2003).

Shapes: B sequences, T positions, D features of a position, n positions in a window, H units.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from carousel.nn.autograd import disable_autocast
from carousel.nn.hand_derived import HandDerived
from carousel.nn.layer import Layer
from carousel.ops import mlp


def _forward(x: Tensor, w: Tensor, b: Tensor, n: int) -> tuple[Any, ...]:
    """Return h (B, T, H) for x (B, n - 1 + T, D)."""
    h = mlp.layer(mlp.windows(x, n), w, b)
    return h, (x, w, h), n  # the windows are n times as large as x: they are made again


def _backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
    x, w, h = ctx.saved_tensors
    (n,) = ctx.constants
    dwindows, dw, db = mlp.layer_backward(dh, h, mlp.windows(x, n), w)
    return mlp.windows_backward(dwindows, n), dw, db, None


_fixed_window = HandDerived("FixedWindow", _forward, _backward)


class FixedWindow(Layer):
    """A tanh layer over n neighbouring positions, each with its own weights.

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
            h: Tensor = _fixed_window(x, self.weight, self.bias, self.window)
            return h

    def extra_repr(self) -> str:
        """Return the sizes for repr."""
        units, width = self.weight.shape
        return f"{width // self.window}, {units}, window={self.window}"
