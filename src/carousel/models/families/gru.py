"""The GRU, after Cho et al. 2014. Equations: math/gru; op: ops/gru.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.models.families.family import GatedConfig, recurrent_family


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


def layer() -> Any:
    """Return the layer's class."""
    from carousel.nn.gru import GRU

    return GRU


FAMILY = recurrent_family(
    GRUConfig,
    layer,
    title="gated recurrent unit",
    variants={"gru": {}, "gru_reset_before": {"reset_after": False}},
    not_in_torch={"gru_reset_before": "its GRU resets after the product"},
)
