"""Fixed-window MLP backbone (Bengio et al. 2003): tanh layers on the last n inputs."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carousel.models.backbone import Backbone, Embed
from carousel.models.base import State
from carousel.models.families.family import WindowedConfig
from carousel.nn.mlp import FixedWindow


class MlpBackbone(Backbone):
    """Each position sees itself and the n - 1 before it; the state is these n - 1 inputs.

    They are kept as they came, ids as ids, so that what carries a state on carries no gradient
    away: the embedding gets the whole of it from either side of a border.

    Before the beginning stands id -1, which is no token, or, where the inputs are features, zeros.

    Source: Bengio, Ducharme, Vincent and Jauvin 2003, section 2; math/mlp/equations.md.
    """

    def __init__(self, config: WindowedConfig, input_size: int | None) -> None:
        super().__init__()
        self.input_size = input_size  # F; None: the inputs are ids
        self.n = config.context
        sizes = [config.embedding_size, *[config.hidden_size] * config.num_layers]
        self.layers = nn.ModuleList(
            FixedWindow(inputs, units, self.n if k == 0 else 1)
            for k, (inputs, units) in enumerate(pairwise(sizes))
        )
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch_size: int) -> State:
        """Return ids (1, B, n - 1), each -1, or features (1, B, n - 1, F), each 0."""
        weight = next(self.parameters())
        shape = (1, batch_size, self.n - 1)
        if self.input_size is None:
            return (torch.full(shape, -1, device=weight.device),)
        return (weight.new_zeros(*shape, self.input_size),)

    def forward(
        self, inputs: Tensor, embed: Embed, state: State | None
    ) -> tuple[Float[Tensor, "B T H"], State]:
        """Return the last layer's units, and the last n - 1 inputs."""
        (before,) = self.initial_state(len(inputs)) if state is None else state
        seen = torch.cat([before[0], inputs], dim=1)  # (B, n - 1 + T, …)
        x = embed(seen)
        for layer in self.layers:
            x = layer(self.dropout(x))  # (B, T, H)
        last = seen[:, seen.shape[1] - self.n + 1 :]
        return self.dropout(x), (last.unsqueeze(0),)

    @torch.no_grad()
    def initialize(self) -> None:
        """Keep the variance of what goes through a tanh layer (He et al. 2015; gain 5/3)."""
        for name, parameter in self.layers.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="tanh")
            else:
                nn.init.zeros_(parameter)
