"""Models small enough for float64, with every parameter random and wide."""

import torch
from torch import nn

from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.recurrent import build
from carousel.text.vocabulary import Vocabulary

V, D, H, L = 7, 4, 6, 2  # all different: a swapped axis cannot pass unseen
TEXT = "cabbage, a bag\n"

# One of each kind that forward treats differently.
SETTINGS: dict[str, dict[str, int | bool | float]] = {
    "one layer": {"embedding_size": D, "hidden_size": H, "num_layers": 1},
    "two layers": {"embedding_size": D, "hidden_size": H, "num_layers": L, "dropout": 0.3},
    "tied": {"embedding_size": H, "hidden_size": H, "num_layers": L, "tie_weights": True},
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
