"""Layer normalisation with gain and shift."""

from typing import Any

import torch
from torch import Tensor, nn

from carousel.nn.hand_derived import HandDerived
from carousel.nn.layer import Layer
from carousel.ops import layer_norm


def _forward(x: Tensor, gain: Tensor, shift: Tensor) -> tuple[Any, ...]:
    y, unit, scale = layer_norm.forward(x, gain, shift)
    return y, (unit, scale, gain)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
    return layer_norm.backward(dy, *ctx.saved_tensors)


_layer_norm = HandDerived("LayerNorm", _forward, _backward)


class LayerNorm(Layer):
    """Give each vector of N features mean 0 and variance 1, then a learned gain and shift.

    The parameters are named and drawn as those of torch.nn.LayerNorm(N): weight 1 and bias 0.

    Source: Ba, Kiros and Hinton 2016; math/attention/equations.md, (norm.1) to (norm.5).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Return y of the shape of x (…, N), in the precision of the weights."""
        x = x.to(self.weight.dtype)
        y: Tensor = _layer_norm(x, self.weight, self.bias)
        return y
