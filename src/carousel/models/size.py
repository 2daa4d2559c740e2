"""How large a model is, counted on torch's meta device: nothing is allocated."""

from dataclasses import replace
from typing import NamedTuple

import torch

from carousel.models.config import ModelConfig
from carousel.models.language_model import build


class Size(NamedTuple):
    """How much a model consists of.

    Attributes:
        tensors: Parameters by name.
        numbers: Trainable scalars in them.
    """

    tensors: int
    numbers: int


def size_of(config: ModelConfig, vocab_size: int) -> Size:
    """Return the size of a model of any depth.

    Layers after the first are alike, and building 1,000 takes a second each: two models are built,
    of one layer and of two.

    Raises:
        RuntimeError: If a tensor would have 2^63 numbers or more.
    """
    with torch.device("meta"):
        one, two = (_count(replace(config, num_layers=k), vocab_size) for k in (1, 2))
    further = config.num_layers - 1
    return Size(*(a + further * (b - a) for a, b in zip(one, two, strict=True)))


def num_parameters(config: ModelConfig, vocab_size: int) -> int:
    """Return the number of a model's trainable scalars."""
    return size_of(config, vocab_size).numbers


def _count(config: ModelConfig, vocab_size: int) -> Size:
    parameters = list(build(config, vocab_size).parameters())
    return Size(len(parameters), sum(p.numel() for p in parameters))
