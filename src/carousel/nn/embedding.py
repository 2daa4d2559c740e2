"""The embedding of tokens, as autograd meets it."""

from typing import Any

import torch
from torch import Tensor, nn

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import hand_derived
from carousel.nn.layer import Layer
from carousel.ops.mlp import embed, embed_backward


class _Embedded(torch.autograd.Function):
    """The op with its hand-derived reverse."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, table: Tensor) -> Tensor:
        """Return the rows of the table (V, D) that belong to the ids."""
        ctx.save_for_backward(ids)
        ctx.vocab_size = len(table)
        return embed(ids, table)

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dx: Tensor) -> tuple[None, Tensor]:
        """Return the gradient of the table."""
        (ids,) = ctx.saved_tensors
        return None, embed_backward(dx, ids, ctx.vocab_size)


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
        if choose("auto", self.weight) is AUTOGRAD:
            return embed(ids, self.weight)
        x: Tensor = _Embedded.apply(ids, self.weight)  # type: ignore[no-untyped-call]
        return x
