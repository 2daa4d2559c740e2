"""The recurrent body: stacked RNN, GRU or LSTM; the state is the layers' (h,) or (h, c)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carousel.models.backbone import Backbone, Embed
from carousel.models.base import State
from carousel.models.config import ModelConfig
from carousel.nn.embedding import Embedding
from carousel.nn.from_ids import TokenInput
from carousel.nn.gru import GRU
from carousel.nn.initialization import chrono, set_forget_bias
from carousel.nn.layer import has_hooks
from carousel.nn.lstm import LSTM
from carousel.nn.rnn import RNN


class RecurrentBackbone(Backbone):
    """Dropout acts on every non-recurrent connection (Zaremba, Sutskever and Vinyals 2014)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recurrence: RNN | GRU | LSTM = build_recurrence(config)
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (L, B, P), and for the LSTM c (L, B, H) beside it."""
        config, weight = self.config, next(self.parameters())
        h = weight.new_zeros(config.num_layers, batch_size, config.output_size)
        if config.model != "lstm":
            return (h,)
        return h, weight.new_zeros(config.num_layers, batch_size, config.hidden_size)

    def forward(
        self, inputs: Tensor, embed: Embed, state: State | None
    ) -> tuple[Float[Tensor, "B T P"], State]:
        """Return the last layer's outputs, and the state after the last position."""
        state = self.initial_state(len(inputs)) if state is None else state
        hx: Any = state if self.config.model == "lstm" else state[0]
        tokens = self._tokens(inputs, embed)
        read = self.dropout(embed(inputs)) if tokens is None else tokens
        y, last = self.recurrence(read, hx)  # (B, T, P)
        return self.dropout(y), last if isinstance(last, tuple) else (last,)

    def _tokens(self, inputs: Tensor, embed: Embed) -> TokenInput | None:
        """Return ids that the recurrence may embed by itself; None if it has to read features.

        So it is where they are dropped place by place, where a hook is to see or change them, and
        where another module stands in the place of the recurrence.
        """
        is_dropped = self.training and self.config.dropout > 0
        layer: nn.Module = self.recurrence
        if is_dropped or not isinstance(embed, Embedding):
            return None
        if not isinstance(layer, (RNN, GRU, LSTM)):
            return None
        is_watched = has_hooks(embed, self.dropout, layer)
        return None if is_watched else TokenInput(inputs, embed)

    @torch.no_grad()
    def initialize(self) -> None:
        """Start the recurrence as a rotation, and the gates at rest.

        Recurrent matrices are orthogonal gate by gate (Saxe, McClelland and Ganguli 2014), input
        matrices Glorot-uniform, biases zero but for those of the gates that keep the past. Norms,
        peepholes and projections stay as their layer draws them.
        """
        config = self.config
        for name, parameter in self.recurrence.named_parameters():
            blocks = parameter.chunk(config.gates)
            if name.startswith("weight_hh"):
                for block in blocks:
                    nn.init.orthogonal_(block)
            elif name.startswith("weight_ih"):
                for block in blocks:
                    nn.init.xavier_uniform_(block)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)
        if not isinstance(self.recurrence, RNN) and config.forget_gate:
            set_forget_bias(self.recurrence, config.forget_bias)
            if config.initialization == "chrono":
                chrono(self.recurrence, config.longest_memory)


def build_recurrence(config: ModelConfig) -> RNN | GRU | LSTM:
    """Return the stack of recurrent layers that a config describes."""
    sizes = (config.embedding_size, config.hidden_size, config.num_layers)
    dropout = config.dropout if config.num_layers > 1 else 0.0
    match config.model:
        case "rnn":
            return RNN(*sizes, nonlinearity=config.nonlinearity, batch_first=True, dropout=dropout)
        case "gru":
            return GRU(*sizes, batch_first=True, dropout=dropout, reset_after=config.reset_after)
        case _:
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
