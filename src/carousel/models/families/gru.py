"""The GRU, after Cho et al. 2014. Equations: math/gru; op: ops/gru.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.models.families.family import Family, GatedConfig


@dataclass(frozen=True, kw_only=True)
class GRUConfig(GatedConfig):
    """Settings of the GRU.

    Attributes:
        reset_after: Without it the reset gate acts before the product. That is the form of the
            paper of 2014; torch resets after the recurrent product.
    """

    model: Literal["gru"] = "gru"
    reset_after: bool = True

    @property
    def has_fused_kernel(self) -> bool:
        """A kernel runs both forms."""
        return True


def build(config: GRUConfig, input_size: int | None) -> Any:
    """Return the backbone."""
    from carousel.models.recurrent import RecurrentBackbone
    from carousel.nn.gru import GRU

    layer = GRU(**config.layer_arguments, reset_after=config.reset_after)
    return RecurrentBackbone(config, layer)


FAMILY = Family(
    name="gru",
    title="gated recurrent unit",
    config=GRUConfig,
    build=build,
    variants={"gru": {}, "gru_reset_before": {"reset_after": False}},
)
