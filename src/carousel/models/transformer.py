"""The transformer backbone: pre-norm blocks of causal attention.

The state is a cache of keys and values: of each layer, of exactly the last C positions.
Shapes: L layers, B sequences, T positions, D features, N heads of K = D/N features, C the context.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carousel.errors import ConfigError
from carousel.models.backbone import Backbone, Embed
from carousel.models.base import State
from carousel.nn.normalization import LayerNorm
from carousel.nn.transformer import Cache, TransformerBlock
from carousel.ops.positions import sinusoidal


class TransformerBackbone(Backbone):
    """Every layer sees a sliding window of C positions, in training, streaming and sampling alike.

    Rotary positions, and none, have no end; those that are learned, or sines added to the input,
    end after C, and a longer stream is refused.

    Sources: Vaswani et al. 2017; Xiong et al. 2020 (pre-norm); math/attention/equations.md.

    Args:
        embedding_size: Features, D.
        hidden_size: Units of each feed-forward layer.
        num_layers: Blocks, L.
        num_heads: Heads of the attention, N.
        context: Positions that each block sees, C.
        positions: "rotary", "learned", "sinusoidal" or "none".
        dropout: Probability of zeroing a feature in training.
    """

    def __init__(
        self,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        context: int,
        positions: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads, self.context, self.positions = num_heads, context, positions
        is_rotary = positions == "rotary"
        self.blocks = nn.ModuleList(
            TransformerBlock(
                embedding_size,
                hidden_size,
                num_heads,
                context,
                is_rotary=is_rotary,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.norm = LayerNorm(embedding_size)
        self.dropout = nn.Dropout(dropout)
        if positions == "learned":
            self.places = nn.Parameter(torch.empty(context, embedding_size))
            nn.init.normal_(self.places)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: keys and values (L, B, N, C, K) each, and how many are written (1, B)."""
        weight = self.norm.weight
        features = len(weight) // self.num_heads
        shape = (len(self.blocks), batch_size, self.num_heads, self.context, features)
        filled = torch.zeros(1, batch_size, dtype=torch.int64, device=weight.device)
        return weight.new_zeros(shape), weight.new_zeros(shape), filled

    def forward(
        self, inputs: Tensor, embed: Embed, state: State | None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Return features of each position, and keys and values of the last C.

        Raises:
            ConfigError: If the stream goes on where there are no more positions.
        """
        x = embed(inputs).to(self.norm.weight.dtype)  # also under autocast
        x = self.dropout(self._placed(x, state))
        news = []
        for layer, block in enumerate(self.blocks):
            past = None if state is None else Cache(state[0][layer], state[1][layer], state[2][0])
            x, new = block(x, past)
            news.append(new)
        keys, values = (torch.stack(parts) for parts in list(zip(*news, strict=True))[:2])
        return self.norm(x), (keys, values, news[-1].filled.unsqueeze(0))

    def _placed(self, x: Tensor, state: State | None) -> Tensor:
        """Add to x (B, T, D) what says where in its stream each position stands."""
        if self.positions in ("rotary", "none"):
            return x
        steps = torch.arange(x.shape[1], device=x.device)
        places = steps if state is None else state[2][0].unsqueeze(-1) + steps  # (B, T)
        if int(places.max()) >= self.context:
            raise ConfigError(
                f"{self.positions} positions end after {self.context} characters, and here come "
                f"{int(places.max()) + 1}; positions rotary has no end"
            )
        if self.positions == "learned":
            return x + self.places[places]
        return x + sinusoidal(places, x.shape[-1], x.dtype)

    @torch.no_grad()
    def initialize(self) -> None:
        """Keep every branch's variance near 1, and let the sum of all 2L branches be no larger.

        What a block adds begins 1/√(2L) as large (Radford et al. 2019, section 2.3).
        """
        for name, parameter in self.blocks.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                is_last = name.endswith(("out_proj.weight", "contract.weight"))
                branches = 2 * len(self.blocks) if is_last else 1
                nn.init.normal_(parameter, std=(parameter.shape[1] * branches) ** -0.5)
        if self.positions == "learned":
            nn.init.normal_(self.places, std=self.places.shape[1] ** -0.5)
