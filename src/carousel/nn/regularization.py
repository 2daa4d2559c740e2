"""Zoneout, recurrent and variational dropout, which act only while training.

Source: variational dropout: Gal and Ghahramani 2016; recurrent dropout: Semeniuta, Severyn and
Barth 2016; zoneout: Krueger et al. 2017. Time-major: T time steps, B sequences.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from carousel.ops.recurrence import Masks, State


class Regularization(NamedTuple):
    """Probabilities; 0 is off.

    Attributes:
        zoneout: That a unit keeps its old h, and independently its old c, at a time step. In
            evaluation this fraction of the old value is kept: the expectation.
        recurrent_dropout: That a unit adds nothing to its cell at a time step.
        variational_dropout: That a layer does not see a feature of its input, and the recurrent
            product a unit of h, for a whole sequence.
    """

    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    variational_dropout: float = 0.0


NO_REGULARIZATION = Regularization()


def drop_input(x: Tensor, regularization: Regularization, is_training: bool) -> Tensor:
    """Multiply x (T, B, D) by one mask for all time steps."""
    if not is_training or regularization.variational_dropout == 0:
        return x
    return x * F.dropout(torch.ones_like(x[0]), regularization.variational_dropout)


def draw(
    probabilities: Regularization,
    state: State,
    steps: int,
    ended: Tensor | None,
    is_training: bool,
) -> Masks:
    """Draw the masks of one layer in one direction; what stays is scaled by 1/(1 - p).

    Args:
        probabilities: See Regularization.
        state: The initial state, each part (B, ·); the last one is of the units.
        steps: T.
        ended: Where a sequence is over, (T, B, 1); None where all are of one length.
        is_training: Whether to draw; zoneout takes its expectation otherwise.
    """
    h = candidate = None
    if is_training and probabilities.variational_dropout > 0:
        h = F.dropout(torch.ones_like(state[0]), probabilities.variational_dropout)
    if is_training and probabilities.recurrent_dropout > 0:
        ones = state[-1].new_ones(steps, *state[-1].shape)
        candidate = F.dropout(ones, probabilities.recurrent_dropout)
    hold = tuple(_hold(probabilities.zoneout, part, steps, ended, is_training) for part in state)
    return Masks(hold, h, candidate)


def _hold(
    zoneout: float, part: Tensor, steps: int, ended: Tensor | None, is_training: bool
) -> Tensor | None:
    """Return what is held of one part of the state: all of it after the end of a sequence."""
    if zoneout == 0:
        return None if ended is None else ended.to(part.dtype)
    if is_training:
        hold = torch.bernoulli(part.new_full((steps, *part.shape), zoneout))
    else:
        hold = part.new_full((steps, 1, 1), zoneout)
    return hold if ended is None else torch.where(ended, 1.0, hold)
