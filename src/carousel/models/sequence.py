"""Sequences in, one answer or one at every position out: any family, beyond the next character."""

from typing import Literal

from torch import Tensor, nn

from carousel.errors import ConfigError
from carousel.models.backbone import Backbone, check_inputs
from carousel.models.base import State
from carousel.models.config import ModelConfig
from carousel.models.families import FAMILIES
from carousel.nn.embedding import Embedding

Supervision = Literal["last", "every"]


class SequenceModel(nn.Module):
    """Classify or regress sequences of tokens, or of feature vectors, with a body of any family.

        model = SequenceModel(ModelConfig(model="gru"), input_size=1, output_size=1)
        forecast, state = model(values)  # (B, T, 1) -> (B, 1)

    For classification the outputs are logits. The state obeys the streaming law: a sequence read in
    pieces, the state handed along, gives what it gives as a whole.

    Args:
        config: Family and sizes; tie_weights is for language models only.
        vocab_size: Number of tokens, where the inputs are ids.
        input_size: Number of features, F, where they are vectors; exactly one of the two.
        output_size: Classes, or numbers to be predicted, O.
        supervision: Whether "every" position is answered, or the "last" one only.

    Raises:
        ConfigError: If the inputs are neither or both, a size is below 1, or weights are tied.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        vocab_size: int | None = None,
        input_size: int | None = None,
        output_size: int,
        supervision: Supervision = "last",
    ) -> None:
        super().__init__()
        _check(config, vocab_size, input_size, output_size, supervision)
        self.config = config
        self.input_size = input_size
        self.supervision = supervision
        self.max_length = config.max_length
        self.embedding: nn.Module
        if input_size is None:
            self.embedding = Embedding(vocab_size or 0, config.embedding_size)
        else:
            self.embedding = nn.Linear(input_size, config.embedding_size)
        self.body: Backbone = FAMILIES[config.model].build(config, input_size)
        self.output = nn.Linear(config.output_size, output_size)
        if config.initialization != "torch":
            self.body.initialize()

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first position."""
        return self.body.initial_state(batch_size)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the answers, (B, O) or (B, T, O), and the state after the last position.

        Args:
            inputs: Ids (B, T), or features (B, T, F).
            state: After what was read before; None: nothing was.

        Raises:
            TypeError: If the inputs are no tensor.
            ValueError: If they have other axes, or another number of features.
        """
        check_inputs(inputs, self.input_size)
        y, last = self.body(inputs, self.embedding, state)  # (B, T, P)
        return self.output(y[:, -1] if self.supervision == "last" else y), last


def _check(
    config: ModelConfig,
    vocab_size: int | None,
    input_size: int | None,
    output_size: int,
    supervision: str,
) -> None:
    if (vocab_size is None) == (input_size is None):
        raise ConfigError("inputs are tokens or vectors: give vocab_size or input_size, one of two")
    sizes = {"vocab_size": vocab_size, "input_size": input_size, "output_size": output_size}
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ConfigError(f"{name} must be at least 1, got {size}")
    if supervision not in ("last", "every"):
        raise ConfigError(f"supervision must be last or every, got {supervision!r}")
    if config.tie_weights:
        raise ConfigError("tie_weights is for language models: here outputs are no tokens")
