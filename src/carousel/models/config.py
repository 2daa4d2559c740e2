"""What a model is, apart from the text it reads. Imports no torch, so that --help is quick."""

from dataclasses import dataclass
from typing import Literal

from carousel.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and initialisation of a language model.

    Attributes:
        model: Architecture.
        embedding_size: Features per character fed to the first layer, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        dropout: Probability of zeroing a feature on every non-recurrent connection in training.
        tie_weights: Share one matrix between embedding and output; needs D = H.
        initialization: "orthogonal" recurrent matrices per gate and the forget bias below, or
            "torch": every weight as torch's own layers draw it.
        forget_bias: Initial bias of the forget gate under "orthogonal"; a unit then remembers for
            about 1/(1 - sigmoid(bias)) characters.
    """

    model: Literal["lstm"] = "lstm"
    embedding_size: int = 64
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    tie_weights: bool = False
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    forget_bias: float = 0.0

    def __post_init__(self) -> None:
        """Reject sizes no model can have, naming the field and its value."""
        for name in ("embedding_size", "hidden_size", "num_layers"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}")
        if not -100 <= self.forget_bias <= 100:
            raise ConfigError(f"forget_bias must be in [-100, 100], got {self.forget_bias}")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise ConfigError(
                "tie_weights needs embedding_size = hidden_size, "
                f"got {self.embedding_size} and {self.hidden_size}"
            )

    def num_parameters(self, vocab_size: int) -> int:
        """Trainable scalars: V D + 4H(D + H + 2) + (L - 1) 4H(2H + 2) + V H (if untied) + V."""
        v, d, h = vocab_size, self.embedding_size, self.hidden_size
        layers = 4 * h * (d + h + 2) + (self.num_layers - 1) * 4 * h * (2 * h + 2)
        return v * d + layers + (0 if self.tie_weights else v * h) + v
