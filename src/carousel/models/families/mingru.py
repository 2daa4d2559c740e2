"""The minGRU, after Feng et al. 2024. Equations: math/mingru; op: ops/mingru.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.models.families.family import GatedConfig, recurrent_family


@dataclass(frozen=True, kw_only=True)
class MinGRUConfig(GatedConfig):
    """Settings of the minGRU: it has none of its own."""

    model: Literal["mingru"] = "mingru"


def layer() -> Any:
    """Return the layer's class."""
    from carousel.nn.mingru import MinGRU

    return MinGRU


FAMILY = recurrent_family(
    MinGRUConfig,
    layer,
    title="minimal GRU",
    variants={"mingru": {}},
    not_in_torch={"mingru": "it has no minimal GRU"},
)
