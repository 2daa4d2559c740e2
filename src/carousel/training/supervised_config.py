"""How a SequenceModel is fitted to examples. Imports no torch."""

from dataclasses import dataclass

from carousel.limits import bounded, check_fields


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

    epochs: int = bounded(300, at_least=1)
    batch_size: int = bounded(32, at_least=1)
    learning_rate: float = bounded(3e-3, above=0, at_most=1_000_000)
    max_grad_norm: float = bounded(1.0, at_least=0)
    patience: int = bounded(30, at_least=0)
    seed: int = bounded(0, at_least=0, at_most=2**64 - 1)

    def __post_init__(self) -> None:
        """Check every field; ConfigError names the one that is wrong."""
        check_fields(self)
