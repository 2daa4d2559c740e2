"""What a language model's first layer reads: ids, whose projections are the rows of one table.

The embedding goes through the product once for each token, not once for each place where it stands.
Derivation: math/recurrence/equations.md, "From ids". V tokens, D features, G = gates · H.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import hand_derived, own_precision
from carousel.nn.packing import Layout, mirror
from carousel.nn.parameters import Parameters
from carousel.ops.recurrence import Dense, Gather, Source, tabulate, tabulate_backward


class Embedded(NamedTuple):
    """An input not yet looked up; id -1, no token at all, stands for the zero vector."""

    ids: Tensor  # (T, B)
    vectors: Tensor  # (V, D): one for each token

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.ids.device

    def to(self, dtype: torch.dtype) -> "Embedded":
        """Return it in another precision."""
        return self._replace(vectors=self.vectors.to(dtype))


class _Table(torch.autograd.Function):
    """The op with its hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, *source: Tensor) -> Tensor:
        """Return the projections of all tokens; the tensors are those of a Dense."""
        ctx.save_for_backward(*source)
        return tabulate(Dense(*source))

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dtable: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        with own_precision(dtable.device):
            return tuple(tabulate_backward(dtable, Dense(*ctx.saved_tensors)))


def source(x: Tensor | Embedded, own: Parameters, backend: str) -> Source:
    """Return what a layer with these parameters makes of its input."""
    if isinstance(x, Tensor):
        return Dense(x, own.w_ih, own.b_ih, own.gain)
    tokens = Dense(x.vectors, own.w_ih, own.b_ih, own.gain)
    is_plain = choose(backend, *tokens) is AUTOGRAD
    table = tabulate(tokens) if is_plain else _Table.apply(*tokens)  # type: ignore[no-untyped-call]
    return Gather(x.ids + 1, table)


def mirrored(x: Tensor | Embedded, lengths: Layout | None) -> Tensor | Embedded:
    """Turn time around, each sequence within its own length."""
    if isinstance(x, Tensor):
        return mirror(x, lengths)
    return x._replace(ids=mirror(x.ids, lengths))
