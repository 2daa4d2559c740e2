"""Ids straight into a recurrent layer: the same as their embedding, with less to multiply.

T time steps, B sequences, V tokens, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from carousel.kernels.transforms import has_symbolic_sizes
from carousel.nn.embedded import Embedded
from carousel.nn.embedding import Embedding
from carousel.nn.module import call, check_input, initial_state, through_all
from carousel.nn.recurrent_layer import RecurrentLayer
from carousel.nn.regularization import NO_EXTRAS, Extras
from carousel.ops.recurrence import Family, State


class TokenInput(NamedTuple):
    """Ids and their embedding in one: a recurrent layer takes it in place of features (B, T, D)."""

    ids: Tensor  # (T, B), or (B, T) where the layer is batch_first
    embedding: Embedding


def call_from_ids(
    layer: RecurrentLayer,
    family: Family,
    ids: Tensor,
    embedding: Embedding,
    state: State | None,
    extras: Extras = NO_EXTRAS,
) -> tuple[Tensor, State]:
    """Run ids through a layer; output and last state are of the form that forward gives.

    Raises:
        TypeError: If the ids are no tensor of integers.
        Exception: Otherwise as forward does, of the ids' embedding.
    """
    if not isinstance(ids, Tensor):
        raise TypeError(f"ids must be a tensor, got {type(ids).__name__}")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids must be of type int64 or int32, got {ids.dtype}")
    if not is_quicker_by_table(layer, ids, embedding, extras):
        y, last = call(layer, family, embedding(ids), state, extras)
        assert isinstance(y, Tensor)
        return y, last
    check_input(layer, embedding.weight, ValueError)
    by_time = ids.T if layer.batch_first else ids  # (T, B)
    start = initial_state(layer, embedding.weight, state, (by_time.shape[1],))
    x = Embedded(by_time, embedding.weight)
    return through_all(layer, family, x, start, extras, is_batch_first=layer.batch_first)


def is_quicker_by_table(
    layer: RecurrentLayer, ids: Tensor, embedding: Embedding, extras: Extras
) -> bool:
    """Tell whether to project every token of the vocabulary, or what stands at every place.

    Forward and back, V rows are multiplied, or T·B; so the table does not pay where the vocabulary
    is the larger: in a small batch of Chinese, and in writing one character at a time. Where
    features are dropped, rows of one token differ from place to place, and there is no table. One
    sequence alone goes the plain way too, and so does a program for any number of ids.
    """
    is_thinned = layer.training and extras.variational_dropout > 0
    if has_symbolic_sizes():
        return False
    return ids.dim() == 2 and len(embedding.weight) <= ids.numel() and not is_thinned
