"""The recurrent backbone: a stack of recurrent layers; the state is the layers' (h,) or (h, c)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carousel.models.backbone import Backbone, Embed
from carousel.models.base import State
from carousel.nn.embedding import Embedding
from carousel.nn.embedding_input import TokenInput
from carousel.nn.initialization import chrono, set_forget_bias
from carousel.nn.layer import has_hooks
from carousel.nn.recurrent_layer import RecurrentLayer


class RecurrentBackbone(Backbone):
    """Dropout acts on every non-recurrent connection (Zaremba, Sutskever and Vinyals 2014).

    Args:
        recurrence: The layers, batch first.
        dropout: Probability of zeroing a feature before and after them in training.
        forget_bias: For `initialize`: first bias of the gate that keeps the past.
        longest_memory: For `initialize`: time steps that the slowest unit remembers; None: all
            units have the forget bias.
    """

    def __init__(
        self,
        recurrence: RecurrentLayer,
        dropout: float = 0.0,
        *,
        forget_bias: float = 0.0,
        longest_memory: int | None = None,
    ) -> None:
        super().__init__()
        self.recurrence = recurrence
        # Kept here: a layer of torch's may come to stand in the recurrence's place.
        self.num_layers = recurrence.num_layers
        self.state_sizes = tuple(recurrence.state_sizes.values())
        self.dropout = nn.Dropout(dropout)
        self.forget_bias, self.longest_memory = forget_bias, longest_memory

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (L, B, P), and for the LSTM c (L, B, H) beside it."""
        zeros = next(self.parameters()).new_zeros
        return tuple(zeros(self.num_layers, batch_size, size) for size in self.state_sizes)

    def forward(
        self, inputs: Tensor, embed: Embed, state: State | None
    ) -> tuple[Float[Tensor, "B T P"], State]:
        """Return the last layer's outputs, and the state after the last position."""
        state = self.initial_state(len(inputs)) if state is None else state
        hx: Any = state if len(state) > 1 else state[0]
        tokens = self._tokens(inputs, embed)
        read = self.dropout(embed(inputs)) if tokens is None else tokens
        y, last = self.recurrence(read, hx)  # (B, T, P)
        return self.dropout(y), last if isinstance(last, tuple) else (last,)

    def _tokens(self, inputs: Tensor, embed: Embed) -> TokenInput | None:
        """Return ids that the recurrence may embed by itself; None if it has to read features.

        So it is where they are dropped place by place, where a hook is to see or change them, and
        where another module stands in the place of the recurrence.
        """
        is_dropped = self.training and self.dropout.p > 0
        layer: nn.Module = self.recurrence
        if is_dropped or not isinstance(embed, Embedding):
            return None
        if not isinstance(layer, RecurrentLayer):
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
        layer = self.recurrence
        for name, parameter in layer.named_parameters():
            blocks = torch.split(parameter, layer.hidden_size)
            if name.startswith("weight_hh"):
                for block in blocks:
                    nn.init.orthogonal_(block)
            elif name.startswith("weight_ih"):
                for block in blocks:
                    nn.init.xavier_uniform_(block)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)
        if layer.keep_gate is not None:
            set_forget_bias(layer, self.forget_bias)
            if self.longest_memory is not None:
                chrono(layer, self.longest_memory)
