"""Models small enough for float64, with every parameter random and wide."""

from typing import Any

import torch
from torch import nn

from carousel.data.vocabulary import Vocabulary
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.families import FAMILIES
from carousel.models.language_model import build

V, D, H, L = 7, 4, 6, 2  # all different: a swapped axis cannot pass unseen
TEXT = "cabbage, a bag\n"

# One of each kind that forward treats differently.
SETTINGS: dict[str, dict[str, Any]] = {
    "one layer": {"embedding_size": D, "hidden_size": H, "num_layers": 1},
    "two layers": {"embedding_size": D, "hidden_size": H, "num_layers": L, "dropout": 0.3},
    "tied": {"embedding_size": H, "hidden_size": H, "num_layers": L, "tie_weights": True},
} | {
    name: {"embedding_size": D, "hidden_size": H, "num_layers": L, **variant}
    for name, variant in {
        "rnn": {"model": "rnn"},
        "rnn relu": {"model": "rnn", "nonlinearity": "relu"},
        "gru": {"model": "gru"},
        "gru reset before": {"model": "gru", "reset_after": False},
        "peepholes, projected": {"peephole": True, "proj_size": 5},
        "coupled": {"coupled": True},
        "1997": {"forget_gate": False},
        "layer norm": {"layer_norm": True},
        "noisy": {"zoneout": 0.2, "recurrent_dropout": 0.3, "variational_dropout": 0.4},
    }.items()
}

# Sight of 1 and 3 characters, 7 and 4, and more than the 9 that the streaming tests read.
WINDOW = {"model": "mlp", "embedding_size": D, "hidden_size": H}
ATTENTION = {
    **{"model": "transformer", "embedding_size": 30, "hidden_size": 10},
    **{"num_heads": 5, "num_layers": L, "context_length": 20},
}
SETTINGS |= {
    "mlp": {**WINDOW, "context_length": 3},
    "mlp, two layers": {**WINDOW, "context_length": 4, "num_layers": L, "dropout": 0.3},
    "mlp without a past": {**WINDOW, "context_length": 1},
    "transformer": {**ATTENTION, "context_length": 4, "dropout": 0.3},
    "transformer, one layer": {**ATTENTION, "context_length": 4, "num_layers": 1},
    "transformer, wide": ATTENTION,
    "transformer, tied": {**ATTENTION, "context_length": 4, "tie_weights": True},
    "no positions": {**ATTENTION, "context_length": 4, "positions": "none"},
    "learned positions": {**ATTENTION, "positions": "learned"},
    "sinusoidal positions": {**ATTENTION, "positions": "sinusoidal"},
}
# Every other family that is registered, in each of its variants.
NAMED = {settings.get("model", "lstm") for settings in SETTINGS.values()}
SETTINGS |= {
    name: {"model": family.name, "embedding_size": D, "hidden_size": H, "num_layers": L, **variant}
    for family in FAMILIES.values()
    if family.name not in NAMED
    for name, variant in family.variants.items()
}
CONFIGS = {name: ModelConfig(**settings) for name, settings in SETTINGS.items()}


def random_model(config: ModelConfig, vocab_size: int = V) -> LanguageModel:
    """A model in float64, in evaluation mode, whose parameters are nowhere near a special value."""
    torch.manual_seed(0)
    model = build(config, vocab_size).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def vocabulary() -> Vocabulary:
    return Vocabulary.from_text(TEXT)
