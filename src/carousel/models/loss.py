"""Cross-entropy and the units it is reported in."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carousel.nn import cross_entropy as layer


def cross_entropy(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    r"""Negative log-likelihood of each target.

    .. math:: \ell_{bt} = \log \sum_v e^{z_{btv}} - z_{bt y_{bt}}

    Args:
        logits: Unnormalised scores z; any finite values. Half precision is summed in float32.
        targets: Class indices y, each in [0, V).

    Returns:
        Nats (natural logarithm), one figure per target. A uniform guess costs log V.

    Source:
        math/mlp/equations.md, (ce.1); Goodfellow, Bengio and Courville 2016, section 6.2.2.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return layer.cross_entropy(logits, targets)


def bits_per_character(nats: float) -> float:
    """Convert nats per character to bits per character: 1 nat is 1.4427 bits."""
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    """Return e^nats: among how many equally likely characters the model hesitates."""
    return math.exp(min(nats, 700.0))
