"""The character language model: embedding, a body of any family, projection to logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from carousel.models.backbone import Backbone, check_inputs
from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig
from carousel.models.families import FAMILIES
from carousel.nn.embedding import Embedding
from carousel.nn.linear import Linear
from carousel.nn.validation import as_size


class CharacterModel(LanguageModel):
    """Predict the next character at every position; the state is the body's.

    With tied weights the output matrix is the embedding (Press and Wolf 2017).
    """

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size = as_size("vocab_size", vocab_size)
        self.max_length = config.max_length
        self.embedding = Embedding(vocab_size, config.embedding_size)
        self.body: Backbone = FAMILIES[config.model].build(config, None)
        self.output = Linear(config.output_size, vocab_size)
        if config.tie_weights:
            del self.output.weight  # forward reads the embedding in its place
        if config.initialization != "torch":
            self._initialize()

    def initial_state(self, batch_size: int) -> State:
        """Return the body's."""
        return self.body.initial_state(batch_size)

    def forward(
        self, tokens: Int[Tensor, "B T"], state: State | None = None
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Return the logits of the next token at each position, and the state after the last."""
        check_inputs(tokens, None)
        y, last = self.body(tokens, self.embedding, state)  # (B, T, P)
        shared = self.embedding.weight if self.config.tie_weights else None
        return self.output(y, shared), last  # (B, T, V)

    @torch.no_grad()
    def _initialize(self) -> None:
        """Draw the body's weights its own way, and start every prediction near uniform."""
        config = self.config
        self.body.initialize()
        nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)
        nn.init.zeros_(self.output.bias)
        if not config.tie_weights:
            nn.init.normal_(self.output.weight, std=0.5 * config.output_size**-0.5)


def build(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Return a fresh model of the configured architecture."""
    return CharacterModel(config, vocab_size)
