"""How a SequenceModel is fitted to examples. Imports no torch."""

from dataclasses import dataclass

from carousel.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """One fit to a set of examples.

    Attributes:
        epochs: Times through the examples, at most.
        batch_size: Examples per step, B; fewer in the last of an epoch.
        learning_rate: Of Adam.
        max_grad_norm: Gradients are scaled down to this global L2 norm; 0 leaves them.
        patience: Epochs without a better validation loss after which training stops; 0 never stops.
        seed: Of initialisation, the order of the examples, and dropout.
    """

    epochs: int = 300
    batch_size: int = 32
    learning_rate: float = 3e-3
    max_grad_norm: float = 1.0
    patience: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what no fit can be, naming the field and its value."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.patience < 0:
            raise ConfigError(f"patience must be at least 0, got {self.patience}")
        if not 0 <= self.seed < 2**64:  # as torch takes it
            raise ConfigError(f"seed must be in [0, 2^64), got {self.seed}")
        if not 0 < self.learning_rate <= 1e6:
            raise ConfigError(f"learning_rate must be in (0, 1e6], got {self.learning_rate}")
        if not 0 <= self.max_grad_norm < float("inf"):
            raise ConfigError(f"max_grad_norm must be at least 0, got {self.max_grad_norm}")
