"""Rotary and sinusoidal position encodings.

Derivation: math/attention/equations.md.
Shapes: T positions, K features of a head (even), D features of a token.
Sources: Vaswani et al. 2017, section 3.5 (sinusoidal); Su et al. 2021, section 3 (rotary).
"""

import torch
from torch import Tensor

BASE = 10_000.0


def angles(positions: Tensor, features: int) -> Tensor:
    """Return the angle of each pair of features at each position, (…, features / 2), in float64.

    Feature k of a pair turns by BASE^(-2k/features) a position: from a turn in six positions to one
    in sixty thousand. Half a float32's digits would be gone a few thousand positions on.
    """
    k = torch.arange(0, features, 2, dtype=torch.float64, device=positions.device)
    return positions.double().unsqueeze(-1) * BASE ** (-k / features)  # (pos.1)


def sinusoidal(positions: Tensor, features: int, dtype: torch.dtype) -> Tensor:
    """Return a vector for each position, (…, features): sines, then cosines."""
    angle = angles(positions, features)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(dtype)  # (pos.2)


def rotations(positions: Tensor, features: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each pair's angle, (T, features / 2) each."""
    angle = angles(positions, features)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of features of x (…, T, K) by its angle; feature k pairs with k + K/2.

    The product of a query rotated by i and a key rotated by j depends on i - j alone. The backward
    pass rotates back: rotate(dy, cos, -sin), (pos.4).
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)  # (pos.3)
