"""The fixed-window MLP, after Bengio et al. 2003. Equations: math/mlp; op: ops/mlp.py."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from carousel.models.families.family import Family, WindowedConfig


@dataclass(frozen=True, kw_only=True)
class MLPConfig(WindowedConfig):
    """Settings of the fixed-window MLP.

    Attributes:
        initialization: How weights are drawn at first. "orthogonal" keeps the variance through the
            tanh layers; "torch" draws every weight as torch's own layers do.
        context_length: Time steps in the window, the present one included. Default: 16.
    """

    default_context: ClassVar[int] = 16

    model: Literal["mlp"] = "mlp"
    initialization: Literal["orthogonal", "torch"] = "orthogonal"


def build(config: MLPConfig, input_size: int | None) -> Any:
    """Return the backbone."""
    from carousel.models.mlp import MlpBackbone

    return MlpBackbone(config, input_size)


FAMILY = Family(
    name="mlp",
    title="fixed-window MLP",
    config=MLPConfig,
    build=build,
    variants={"mlp": {}},
)
