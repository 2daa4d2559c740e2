"""Character language model: embedding, stacked recurrence, projection to logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.layers.gru import GRU
from carousel.layers.initialization import chrono, set_forget_bias
from carousel.layers.lstm import LSTM
from carousel.layers.rnn import RNN
from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig


class RecurrentLanguageModel(LanguageModel):
    """Predict the next character at every position; the state is the layers' (h,) or (h, c).

    Dropout acts on every non-recurrent connection (Zaremba, Sutskever and Vinyals 2014).
    With tied weights the output matrix is the embedding (Press and Wolf 2017).
    """

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.recurrence = build_recurrence(config)
        self.output = nn.Linear(config.output_size, vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        if config.tie_weights:
            del self.output.weight  # forward reads the embedding in its place
        if config.initialization != "torch":
            initialize(self)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (L, B, P), and for the LSTM c (L, B, H) beside it."""
        config, weight = self.config, self.embedding.weight
        h = weight.new_zeros(config.num_layers, batch_size, config.output_size)
        if config.model != "lstm":
            return (h,)
        return h, weight.new_zeros(config.num_layers, batch_size, config.hidden_size)

    def forward(
        self, tokens: Int[Tensor, "B T"], state: State | None = None
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Return the logits of the next token at each position, and the state after the last."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        x = self.dropout(self.embedding(tokens))  # (B, T, D)
        if self.config.model == "lstm":
            y, last = self.recurrence(x, state)  # (B, T, P)
        else:
            y, h = self.recurrence(x, state[0])  # (B, T, H)
            last = (h,)
        weight = self.embedding.weight if self.config.tie_weights else self.output.weight
        return F.linear(self.dropout(y), weight, self.output.bias), last  # (B, T, V)


def build_recurrence(config: ModelConfig) -> RNN | GRU | LSTM:
    """Return the stack of recurrent layers that a config describes."""
    sizes = (config.embedding_size, config.hidden_size, config.num_layers)
    dropout = config.dropout if config.num_layers > 1 else 0.0
    match config.model:
        case "rnn":
            return RNN(*sizes, nonlinearity=config.nonlinearity, batch_first=True, dropout=dropout)
        case "gru":
            return GRU(*sizes, batch_first=True, dropout=dropout, reset_after=config.reset_after)
        case "lstm":
            return LSTM(
                *sizes,
                batch_first=True,
                dropout=dropout,
                proj_size=config.proj_size,
                peephole=config.peephole,
                coupled=config.coupled,
                forget_gate=config.forget_gate,
                layer_norm=config.layer_norm,
                zoneout=config.zoneout,
                recurrent_dropout=config.recurrent_dropout,
                variational_dropout=config.variational_dropout,
            )


@torch.no_grad()
def initialize(model: RecurrentLanguageModel) -> None:
    """Start the recurrence as a rotation, the gates at rest, and every prediction near uniform.

    Recurrent matrices are orthogonal gate by gate (Saxe, McClelland and Ganguli 2014), input
    matrices Glorot-uniform, biases zero but for those of the gates that keep the past. Norms,
    peepholes and projections stay as their layer draws them.
    """
    config = model.config
    for name, parameter in model.recurrence.named_parameters():
        blocks = parameter.chunk(config.gates)
        if name.startswith("weight_hh"):
            for block in blocks:
                nn.init.orthogonal_(block)
        elif name.startswith("weight_ih"):
            for block in blocks:
                nn.init.xavier_uniform_(block)
        elif name.startswith("bias"):
            nn.init.zeros_(parameter)
    if not isinstance(model.recurrence, RNN) and config.forget_gate:
        set_forget_bias(model.recurrence, config.forget_bias)
        if config.initialization == "chrono":
            chrono(model.recurrence, config.longest_memory)
    nn.init.normal_(model.embedding.weight, std=config.embedding_size**-0.5)
    nn.init.zeros_(model.output.bias)
    if not config.tie_weights:
        nn.init.normal_(model.output.weight, std=0.5 * config.output_size**-0.5)


def build(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Return a fresh model of the configured architecture."""
    return RecurrentLanguageModel(config, vocab_size)
