"""Layer normalisation with gain and shift, as autograd meets it."""

from typing import Any

import torch
from torch import Tensor, nn

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import hand_derived
from carousel.nn.layer import Layer
from carousel.ops import layer_norm


class _Normalised(torch.autograd.Function):
    """The op with its hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """Return y of the shape of x."""
        y, unit, scale = layer_norm.forward(x, gain, shift)
        ctx.save_for_backward(unit, scale, gain)
        return y

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of x, gain and shift."""
        return layer_norm.backward(dy, *ctx.saved_tensors)


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
        if choose("auto", x, self.weight, self.bias) is AUTOGRAD:
            return layer_norm.forward(x, self.weight, self.bias)[0]
        y: Tensor = _Normalised.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y
