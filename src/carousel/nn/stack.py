"""Layers on layers: directions, dropout between layers, lengths; the same for every family.

Time-major: T time steps, B sequences. A state has one row per layer and direction: _l0,
_l0_reverse, _l1, ….
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from carousel.kernels.dispatch import choose_recurrence
from carousel.kernels.transforms import active_transform, has_symbolic_sizes
from carousel.nn.autograd import opaque
from carousel.nn.embedding_input import Embedded, reverse_time, source
from carousel.nn.packing import Layout, pack, pad, reverse
from carousel.nn.parameters import Parameters
from carousel.nn.recurrence import run
from carousel.nn.regularization import Regularization, draw, drop_input
from carousel.ops.recurrence import Family, State


@opaque
def stack(
    family: Family,
    x: Tensor | Embedded,
    state: State,
    layers: list[list[Parameters]],
    *,
    lengths: Layout | None,
    is_batch_first: bool,
    dropout: float,
    regularization: Regularization,
    is_training: bool,
    backend: str,
    compute_dtype: torch.dtype,
) -> tuple[Tensor, State]:
    """Run x (T, B, D), or ids (T, B), through the layers, each given by its one or two directions.

    product is the type that the products should have, where a kernel can give it.

    Returns:
        The last layer's outputs (T, B, ·), or (B, T, ·) if is_batch_first, directions side by side,
        and the last state of every layer and direction.
    """
    rows = iter(zip(*(part.unbind(0) for part in state), strict=True))
    ended = None if lengths is None else lengths.ended
    steps = len(x if isinstance(x, Tensor) else x.ids)
    finals = []
    for k, directions in enumerate(layers):
        if isinstance(x, Tensor):  # ids have no features to drop
            if k > 0 and is_training and dropout > 0:
                x = drop(x, dropout, lengths)
            x = drop_input(x, regularization, is_training)
        outputs = []
        for is_reverse, own in zip((False, True), directions, strict=False):
            start = next(rows)
            read = source(reverse_time(x, lengths) if is_reverse else x, own, backend)
            masks = draw(regularization, start, steps, ended, is_training)
            implementation = choose_recurrence(
                backend, family, read, start, own.weights, masks, compute_dtype
            )
            y, last = run(implementation, family, read, start, own.weights, masks)
            outputs.append(reverse(y, lengths) if is_reverse else y)
            finals.append(last)
        x = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
    assert isinstance(x, Tensor)  # there is at least one layer
    y = batch_first(x) if is_batch_first else x
    return y, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def batch_first(y: Tensor) -> Tensor:
    """Turn outputs (T, B, ·) that nobody else holds into (B, T, ·).

    In place, as torch does: the result is no view, and may be detached in place.
    """
    if active_transform(y) is not None or has_symbolic_sizes():
        return y.transpose(0, 1)
    return y.transpose_(0, 1)


def drop(x: Tensor, dropout: float, lengths: Layout | None) -> Tensor:
    """Zero features at random; of a packed batch in its packed form, for torch's draws."""
    if lengths is None:
        return F.dropout(x, dropout)
    return pad(F.dropout(pack(x, lengths), dropout), lengths)
