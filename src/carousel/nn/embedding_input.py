"""Ids as the input of a recurrent layer: the projections of all tokens are the rows of one table.

The embedding goes through the product once for each token, not once for each place where it stands.
Derivation: math/recurrence/equations.md, "From ids". T time steps, B sequences, V tokens, D
features, G = gates · H.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.kernels.transforms import has_symbolic_sizes
from carousel.nn.embedding import Embedding
from carousel.nn.hand_derived import HandDerived
from carousel.nn.packing import Layout, reverse
from carousel.nn.parameters import Parameters
from carousel.ops.recurrence import (
    DenseInput,
    EmbeddedInput,
    Source,
    project_embedding,
    project_embedding_backward,
)


class TokenInput(NamedTuple):
    """Ids and their embedding: a recurrent layer takes it in place of features (B, T, D).

    The outputs are those of `embedding(ids)`, computed sooner where the ids outnumber the tokens.
    """

    ids: Tensor  # (T, B), or (B, T) where the layer is batch_first; -1 is no token: the zero vector
    embedding: Embedding


class Embedded(NamedTuple):
    """An input not yet looked up; id -1, no token at all, stands for the zero vector."""

    ids: Tensor  # (T, B)
    vectors: Tensor  # (V, D): one for each token

    @property
    def device(self) -> torch.device:
        """The device of the ids."""
        return self.ids.device

    def to(self, dtype: torch.dtype) -> "Embedded":
        """Return it in another precision."""
        return self._replace(vectors=self.vectors.to(dtype))


def _forward(*source: Tensor) -> tuple[Any, ...]:
    """Return the projections of all tokens; the tensors are those of a DenseInput."""
    return project_embedding(DenseInput(*source)), source


def _backward(ctx: Any, dtable: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(project_embedding_backward(dtable, DenseInput(*ctx.saved_tensors)))


_project_embedding = HandDerived("ProjectEmbedding", _forward, _backward)


def check_ids(ids: object) -> None:
    """Raise TypeError if ids are no tensor of integers."""
    if not isinstance(ids, Tensor):
        raise TypeError(f"ids must be a tensor, got {type(ids).__name__}")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids must be of type int64 or int32, got {ids.dtype}")


def is_quicker_by_table(ids: Tensor, embedding: Embedding, *, drops_features: bool) -> bool:
    """Return whether to project every token of the vocabulary, or what stands at every place.

    Forward and back, V rows are multiplied, or T·B; so the table does not pay where the vocabulary
    is the larger: in a small batch of Chinese, and in writing one character at a time. Where
    features are dropped, rows of one token differ from place to place, and there is no table. One
    sequence alone goes the plain way too, and so does a program for any number of ids.
    """
    if has_symbolic_sizes():
        return False
    return ids.dim() == 2 and len(embedding.weight) <= ids.numel() and not drops_features


def source(x: Tensor | Embedded, own: Parameters, backend: str) -> Source:
    """Return the input of a layer with these parameters as the time loop takes it."""
    if isinstance(x, Tensor):
        return DenseInput(x, own.w_ih, own.b_ih, own.gain)
    tokens = DenseInput(x.vectors, own.w_ih, own.b_ih, own.gain)
    return EmbeddedInput(x.ids + 1, _project_embedding(*tokens, backend=backend))


def reverse_time(x: Tensor | Embedded, lengths: Layout | None) -> Tensor | Embedded:
    """Turn time around, each sequence within its own length."""
    if isinstance(x, Tensor):
        return reverse(x, lengths)
    return x._replace(ids=reverse(x.ids, lengths))
