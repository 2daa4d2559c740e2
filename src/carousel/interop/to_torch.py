"""A trained character model as plain modules of torch.nn, with the same weights.

The only place outside `verify` that names torch's recurrent layers and attention: nothing of
Carousel runs on what is built here.
"""

from typing import Any

import torch
from torch import Tensor, nn

from carousel.errors import ConfigError
from carousel.interop.torch_transformer import TorchTransformer
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.families.family import RecurrentConfig, WindowedConfig
from carousel.models.families.gru import GRUConfig
from carousel.models.families.lstm import LSTMConfig
from carousel.models.families.rnn import RNNConfig
from carousel.models.language_model import CharacterModel

# What torch.nn lacks, and the value under which a model needs none of it.
LACKING = {
    "reset_after": True,
    "peephole": False,
    "coupled": False,
    "forget_gate": True,
    "layer_norm": False,
    "zoneout": 0.0,
    "recurrent_dropout": 0.0,
    "variational_dropout": 0.0,
}
State = tuple[Tensor, ...]


class TorchRecurrent(nn.Module):
    """nn.Embedding, one of nn.RNN, nn.GRU and nn.LSTM, nn.Linear; the state is (h,) or (h, c)."""

    def __init__(self, config: RecurrentConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrence = build_recurrence(config)
        self.output = nn.Linear(config.output_size, vocab_size)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (B, T, V) and the state after the last of the tokens (B, T)."""
        hx = state if state is None or isinstance(self.recurrence, nn.LSTM) else state[0]
        y, last = self.recurrence(self.dropout(self.embedding(tokens)), hx)
        return self.output(self.dropout(y)), last if isinstance(last, tuple) else (last,)


class TorchWindow(nn.Module):
    """nn.Embedding, and nn.Linear with tanh over the last n tokens; the state is n - 1 ids.

    Before the first token stands id -1, whose vector is zero.
    """

    def __init__(self, config: WindowedConfig, vocab_size: int) -> None:
        super().__init__()
        self.n = config.context
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        inputs = [self.n * config.embedding_size, *[config.hidden_size] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(nn.Linear(size, config.hidden_size) for size in inputs)
        self.output = nn.Linear(config.hidden_size, vocab_size)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (B, T, V) and the state after the last of the tokens (B, T)."""
        shape = (len(tokens), self.n - 1)
        before = tokens.new_full(shape, -1) if state is None else state[0][0]
        seen = torch.cat([before, tokens], dim=1)  # (B, n - 1 + T)
        vectors = self.embedding(seen.clamp(min=0)) * (seen >= 0).unsqueeze(-1)
        x = self.dropout(vectors).unfold(1, self.n, 1).transpose(2, 3).flatten(2)  # (B, T, nD)
        for k, layer in enumerate(self.layers):
            x = torch.tanh(layer(x if k == 0 else self.dropout(x)))
        last = seen[:, seen.shape[1] - self.n + 1 :].unsqueeze(0)
        return self.output(self.dropout(x)), (last,)


def build_recurrence(config: ModelConfig) -> nn.RNN | nn.GRU | nn.LSTM:
    """Return torch's layer for a recurrent model."""
    match config:
        case RNNConfig():
            return nn.RNN(**config.layer_arguments, nonlinearity=config.nonlinearity)
        case GRUConfig():
            return nn.GRU(**config.layer_arguments)
        case LSTMConfig():
            return nn.LSTM(**config.layer_arguments, proj_size=config.proj_size)
    raise ConfigError(f"to_torch: torch.nn has no layer for {config.model}")


def to_torch(model: LanguageModel) -> nn.Module:
    """Return a copy of a character model in modules of torch.nn, in the same mode.

    Raises:
        ConfigError: If the model has an option that torch.nn lacks, or is of another kind.
    """
    if not isinstance(model, CharacterModel):
        raise ConfigError(f"to_torch converts character models, not {type(model).__name__}")
    config = model.config
    for name, plain in LACKING.items():
        if (value := getattr(config, name, plain)) != plain:
            raise ConfigError(f"to_torch: torch.nn has no {name} = {value}")
    weight = model.embedding.weight
    builders: dict[str, Any] = {"mlp": TorchWindow, "transformer": TorchTransformer}
    with torch.device("meta"):  # nothing is drawn
        built: nn.Module = builders.get(config.model, TorchRecurrent)(config, model.vocab_size)
    embedding, output = built.get_submodule("embedding"), built.get_submodule("output")
    if config.tie_weights:
        del output.weight
    parameters = model.named_parameters()
    weights = {name.removeprefix("body."): p.detach().clone() for name, p in parameters}
    built.load_state_dict(weights, assign=True)
    if config.tie_weights:
        output.weight = embedding.weight
    built.requires_grad_(True)
    return built.to(weight.device).train(model.training)
