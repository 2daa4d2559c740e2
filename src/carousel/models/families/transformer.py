"""The transformer: blocks of causal attention. Equations: math/attention; op: ops/attention.py."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from carousel.errors import ConfigError
from carousel.limits import bounded
from carousel.models.families.family import Family, WindowedConfig


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(WindowedConfig):
    """Settings of the transformer.

    Attributes:
        embedding_size: Width of the blocks from end to end, D.
        hidden_size: Units of each feed-forward layer, H.
        initialization: How weights are drawn at first. "orthogonal" scales every matrix by its
            width and depth; "torch" draws it as torch's own layers do.
        context_length: Time steps that each layer sees, the present one included. Default: 128.
        num_heads: Heads of the attention, a divisor of embedding_size.
        positions: How a block knows where a time step stands. "rotary" and "none" read on without
            end, "learned" and "sinusoidal" for context_length time steps only.
    """

    default_context: ClassVar[int] = 128

    model: Literal["transformer"] = "transformer"
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    num_heads: int = bounded(4, at_least=1)
    positions: Literal["rotary", "learned", "sinusoidal", "none"] = "rotary"

    @property
    def max_length(self) -> int | None:
        """Characters after which absolute positions end; None: there is no end."""
        return self.context if self.positions in ("learned", "sinusoidal") else None

    @property
    def position_kind(self) -> str:
        """The setting `positions`."""
        return self.positions

    @property
    def learned_positions(self) -> int:
        """Positions of which each has a vector of its own."""
        return self.context if self.positions == "learned" else 0

    @property
    def output_size(self) -> int:
        """Features of the last block's output."""
        return self.embedding_size

    def _check_own(self) -> None:
        super()._check_own()
        if self.embedding_size % self.num_heads:
            raise ConfigError(
                f"num_heads must divide embedding_size, got {self.num_heads} heads for "
                f"{self.embedding_size} features"
            )
        if self.positions == "rotary" and self.embedding_size // self.num_heads % 2:
            raise ConfigError(
                "rotary positions turn pairs of features: embedding_size / num_heads must be even, "
                f"got {self.embedding_size} / {self.num_heads}"
            )
        if self.positions == "sinusoidal" and self.embedding_size % 2:
            raise ConfigError(
                "sinusoidal positions are pairs of features: embedding_size must be even, "
                f"got {self.embedding_size}"
            )


def build(config: TransformerConfig, input_size: int | None) -> Any:
    """Return the backbone."""
    from carousel.models.transformer import TransformerBackbone

    return TransformerBackbone(
        config.embedding_size,
        config.hidden_size,
        config.num_layers,
        config.num_heads,
        config.context,
        config.positions,
        config.dropout,
    )


FAMILY = Family(
    name="transformer",
    title="causal attention",
    config=TransformerConfig,
    build=build,
    learning_rate=2e-3,  # of 2e-3 and 8e-3 the better after 400 steps (RESULTS.md)
    variants={"transformer": {}},
)
