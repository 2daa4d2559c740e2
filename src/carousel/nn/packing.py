"""Sequences of unequal length side by side, as torch.nn.utils.rnn packs them.

The time loop sees a padded (T, B, ·) in which the state of a sequence that has ended is held. Rows
are sorted, the longest first: those at work in a time step are the first ones, and the packed form
lists them, time step by time step: N rows in all.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


class Layout(NamedTuple):
    """The positions of the N rows of a packed batch among the T·B of the padded one."""

    steps: int  # T
    batch: int  # B
    places: Tensor  # (N,): of each packed row, t·B + b
    mirrored: Tensor  # (T·B,): from where each row comes if every sequence runs backwards
    ended: Tensor  # (T, B, 1): whether the sequence is over


def layout(packed: PackedSequence) -> Layout:
    """Read how a batch is packed.

    Raises:
        RuntimeError: If it has no time steps, or its sizes do not fit its data.
    """
    sizes, rows = packed.batch_sizes, packed.data.shape[0]  # sizes (T,) stand on the CPU, always
    if len(sizes) == 0:
        raise RuntimeError("the packed input has no time steps; it needs at least 1")
    if (sizes.diff() > 0).any() or sizes.sum() != rows:
        raise RuntimeError(
            f"the packed input has {rows} rows and batch_sizes {sizes.tolist()}; they must never "
            "grow, and add up to the rows"
        )
    steps, batch = len(sizes), int(sizes[0])
    t, b = torch.arange(steps).unsqueeze(1), torch.arange(batch)
    is_running = b < sizes.unsqueeze(1)  # (T, B)
    from_end = is_running.sum(0) - 1 - t
    mirrored = torch.where(is_running, from_end, t) * batch + b
    device = packed.data.device
    return Layout(
        steps=steps,
        batch=batch,
        places=is_running.flatten().nonzero().squeeze(1).to(device),
        mirrored=mirrored.flatten().to(device),
        ended=(~is_running).unsqueeze(-1).to(device),
    )


def pad(data: Tensor, at: Layout) -> Tensor:
    """Spread packed rows (N, ·) over (T, B, ·), with zeros after the end of a sequence."""
    zeros = data.new_zeros(at.steps * at.batch, *data.shape[1:])
    return zeros.index_copy(0, at.places, data).view(at.steps, at.batch, *data.shape[1:])


def pack(x: Tensor, at: Layout) -> Tensor:
    """Gather from (T, B, ·) the rows (N, ·) of the packed form."""
    return x.flatten(0, 1).index_select(0, at.places)


def reverse(x: Tensor, at: Layout | None) -> Tensor:
    """Turn time around in (T, B, ·), each sequence within its own length."""
    if at is None:
        return x.flip(0)
    return x.flatten(0, 1).index_select(0, at.mirrored).view(x.shape)
