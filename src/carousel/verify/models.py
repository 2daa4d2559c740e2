"""The language models, as the checks make them."""

import random
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from carousel.models.config import ModelConfig
from carousel.models.families import FAMILIES
from carousel.verify.layers import randomise

POSITIONS = ("rotary", "none", "learned", "rotary", "rotary", "sinusoidal")  # in turn

M = TypeVar("M", bound=nn.Module)


def draw_config(model: Literal["mlp", "transformer"], seed: int) -> ModelConfig:
    """Return a random shape of a model, its context a few positions; half of them are rotary."""
    rng = random.Random(seed)
    config = ModelConfig(
        model=model,
        embedding_size=8,
        hidden_size=rng.randint(5, 7),
        num_layers=rng.randint(1, 3),
        context_length=rng.randint(1, 4),
    )
    if model == "mlp":
        return config
    return replace(config, positions=POSITIONS[seed % len(POSITIONS)])  # type: ignore[call-arg]


def variant_settings(name: str) -> dict[str, Any]:
    """Return the settings of a variant, by its name in the registry."""
    return next(
        {"model": family.name, **family.variants[name]}
        for family in FAMILIES.values()
        if name in family.variants
    )


def draw_recurrent(name: str, seed: int) -> ModelConfig:
    """Return a random shape of a recurrent model, in the variant of this name."""
    rng = random.Random(seed)
    return ModelConfig(
        embedding_size=4,
        hidden_size=rng.randint(5, 7),
        num_layers=rng.randint(1, 3),
        **variant_settings(name),
    )


def made(model: M, generator: torch.Generator) -> M:
    """Return a model in double precision, out of training, all of its parameters random."""
    model = model.double().eval()
    randomise(model, generator)
    return model
