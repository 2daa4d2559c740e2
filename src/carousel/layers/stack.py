"""Layers on layers: directions, dropout between layers, lengths; the same for every family.

Time-major: T time steps, B sequences. A state has one row per layer and direction: _l0,
_l0_reverse, _l1, ….
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from carousel.kernels.implementation import choose
from carousel.layers.extras import Extras, draw, drop_input
from carousel.layers.packing import Layout, mirror, pack, pad
from carousel.layers.parameters import Parameters
from carousel.layers.recurrence import run
from carousel.ops.recurrence import Dense, Family, State


def stack(
    family: Family,
    x: Tensor,
    state: State,
    layers: list[list[Parameters]],
    *,
    lengths: Layout | None,
    dropout: float,
    extras: Extras,
    is_training: bool,
    backend: str,
) -> tuple[Tensor, State]:
    """Run x (T, B, D) through the layers, each given by its one or two directions.

    Returns:
        The last layer's outputs (T, B, ·), directions side by side, and the last state of every
        layer and direction.
    """
    implementation = choose(backend)
    rows = iter(zip(*(part.unbind(0) for part in state), strict=True))
    ended = None if lengths is None else lengths.ended
    finals = []
    for k, directions in enumerate(layers):
        if k > 0 and is_training and dropout > 0:
            x = drop(x, dropout, lengths)
        x = drop_input(x, extras, is_training)
        outputs = []
        for is_reverse, own in zip((False, True), directions, strict=False):
            start = next(rows)
            source = Dense(mirror(x, lengths) if is_reverse else x, own.w_ih, own.b_ih, own.gain)
            masks = draw(extras, start, len(x), ended, is_training)
            y, last = run(implementation, family, source, start, own.weights, masks)
            outputs.append(mirror(y, lengths) if is_reverse else y)
            finals.append(last)
        x = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
    return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def drop(x: Tensor, dropout: float, lengths: Layout | None) -> Tensor:
    """Zero features at random; of a packed batch in its packed form, for torch's draws."""
    if lengths is None:
        return F.dropout(x, dropout)
    return pad(F.dropout(pack(x, lengths), dropout), lengths)
