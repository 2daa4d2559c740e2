"""What a language model's first layer reads: ids, whose projections are the rows of one table.

The embedding goes through the product once for each token, not once for each place where it stands.
Derivation: math/recurrence/equations.md, "From ids". V tokens, D features, G = gates · H.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import disable_autocast, hand_derived
from carousel.nn.packing import Layout, reverse
from carousel.nn.parameters import Parameters
from carousel.ops.recurrence import (
    DenseInput,
    EmbeddedInput,
    Source,
    project_embedding,
    project_embedding_backward,
)


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
        """Return the projections of all tokens; the tensors are those of a DenseInput."""
        ctx.save_for_backward(*source)
        return project_embedding(DenseInput(*source))

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dtable: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        with disable_autocast(dtable.device):
            return tuple(project_embedding_backward(dtable, DenseInput(*ctx.saved_tensors)))


def source(x: Tensor | Embedded, own: Parameters, backend: str) -> Source:
    """Return what a layer with these parameters makes of its input."""
    if isinstance(x, Tensor):
        return DenseInput(x, own.w_ih, own.b_ih, own.gain)
    tokens = DenseInput(x.vectors, own.w_ih, own.b_ih, own.gain)
    is_plain = choose(backend, *tokens) is AUTOGRAD
    table = project_embedding(tokens) if is_plain else _Table.apply(*tokens)  # type: ignore[no-untyped-call]
    return EmbeddedInput(x.ids + 1, table)


def mirrored(x: Tensor | Embedded, lengths: Layout | None) -> Tensor | Embedded:
    """Turn time around, each sequence within its own length."""
    if isinstance(x, Tensor):
        return reverse(x, lengths)
    return x._replace(ids=reverse(x.ids, lengths))
