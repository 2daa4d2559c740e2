"""The embedding of tokens."""

from typing import Any

import torch
from torch import Tensor, nn

from carousel.nn.hand_derived import HandDerived
from carousel.nn.layer import Layer
from carousel.ops.mlp import embed, embed_backward


def _forward(ids: Tensor, table: Tensor) -> tuple[Any, ...]:
    """Return the rows of the table (V, D) that belong to the ids."""
    return embed(ids, table), (ids,), len(table)


def _backward(ctx: Any, dx: Tensor) -> tuple[None, Tensor]:
    (ids,), (vocab_size,) = ctx.saved_tensors, ctx.constants
    return None, embed_backward(dx, ids, vocab_size)


_embedding = HandDerived("Embedding", _forward, _backward)


class Embedding(Layer):
    """A vector of D features for each of V tokens; id -1, no token at all, is the zero vector.

    The parameter is named and drawn as that of torch.nn.Embedding(V, D).

    Source: Bengio et al. 2003, section 2; math/mlp/equations.md, (mlp.1).
    """

    def __init__(self, vocab_size: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, features))
        nn.init.normal_(self.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (…, D) for ids (…)."""
        x: Tensor = _embedding(ids, self.weight)
        return x
