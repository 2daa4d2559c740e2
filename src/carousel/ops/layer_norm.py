"""Layer normalisation without its gain: each vector gets mean 0 and variance 1; and the reverse.

Derivation: math/lstm/layer_norm.md. Source: Ba, Kiros and Hinton 2016.
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
