"""Layer normalisation: a vector gets mean 0 and variance 1, then gain and shift.

Derivation: math/attention/equations.md. Source: Ba, Kiros and Hinton 2016.
"""

import torch
from torch import Tensor

EPSILON = 1e-5  # added to the variance, as torch.nn.LayerNorm does


def normalise(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit (…, N), the normalised vectors, and what they were multiplied by, (…, 1)."""
    centred = u - u.mean(-1, keepdim=True)  # (norm.1)
    scale = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + EPSILON)  # (norm.2)
    return centred * scale, scale  # (norm.3)


def normalise_backward(dunit: Tensor, unit: Tensor, scale: Tensor) -> Tensor:
    """Pull the gradient of `unit` back to u, from what `normalise` returned."""
    along = (dunit * unit).mean(-1, keepdim=True)
    return scale * (dunit - dunit.mean(-1, keepdim=True) - unit * along)  # (norm.4)


def forward(x: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y of the shape of x (…, N), and what the backward pass needs: unit and scale."""
    unit, scale = normalise(x)
    return unit * gain + shift, unit, scale  # (norm.5)


def backward(
    dy: Tensor, unit: Tensor, scale: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, gain and shift."""
    rows, units = dy[None].flatten(0, -2), unit[None].flatten(0, -2)  # also of a single vector
    dgain, dshift = (rows * units).sum(0), rows.sum(0)  # (norm.6)
    return normalise_backward(dy * gain, unit, scale), dgain, dshift
