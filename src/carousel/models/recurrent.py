"""Character language model: embedding, stacked recurrence, projection to logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.layers.lstm import LSTM
from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig


class RecurrentLanguageModel(LanguageModel):
    """Predict the next character at every position; the state is the layers' (h, c).

    Dropout acts on every non-recurrent connection (Zaremba, Sutskever and Vinyals 2014).
    With tied weights the output matrix is the embedding (Press and Wolf 2017).
    """

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.recurrence = LSTM(
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )
        self.output = nn.Linear(config.hidden_size, vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        if config.tie_weights:
            del self.output.weight  # forward reads the embedding in its place
        if config.initialization == "orthogonal":
            initialize(self)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros for (h, c), each (L, B, H)."""
        weight = self.embedding.weight
        shape = (self.config.num_layers, batch_size, self.config.hidden_size)
        return weight.new_zeros(shape), weight.new_zeros(shape)

    def forward(
        self, tokens: Int[Tensor, "B T"], state: State | None = None
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Return the logits of the next token at each position, and the state after the last."""
        h, c = self.initial_state(tokens.shape[0]) if state is None else state
        x = self.dropout(self.embedding(tokens))  # (B, T, D)
        y, last = self.recurrence(x, (h, c))  # (B, T, H)
        weight = self.embedding.weight if self.config.tie_weights else self.output.weight
        return F.linear(self.dropout(y), weight, self.output.bias), last  # (B, T, V)


@torch.no_grad()
def initialize(model: RecurrentLanguageModel) -> None:
    """Start the recurrence as a rotation, the gates at rest, and every prediction near uniform.

    Recurrent matrices are orthogonal gate by gate (Saxe, McClelland and Ganguli 2014), input
    matrices Glorot-uniform, biases zero but for the forget gate's. The forget bias stands in
    bias_ih alone, since a gate adds both of its biases.
    """
    config = model.config
    for name, parameter in model.recurrence.named_parameters():
        gates = parameter.chunk(4)  # i, f, g, o
        if name.startswith("weight_hh"):
            for gate in gates:
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            for gate in gates:
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                nn.init.constant_(gates[1], config.forget_bias)
    nn.init.normal_(model.embedding.weight, std=config.embedding_size**-0.5)
    nn.init.zeros_(model.output.bias)
    if not config.tie_weights:
        nn.init.normal_(model.output.weight, std=0.5 * config.hidden_size**-0.5)


def build(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Return a fresh model of the configured architecture."""
    return RecurrentLanguageModel(config, vocab_size)
