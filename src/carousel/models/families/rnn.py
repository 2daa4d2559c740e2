"""The vanilla RNN: h_t = tanh(W x_t + U h_{t-1} + b). Equations: math/rnn; op: ops/rnn.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.models.families.family import Family, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class RNNConfig(RecurrentConfig):
    """Settings of the vanilla RNN.

    Attributes:
        initialization: How weights are drawn at first. "orthogonal" recurrent matrices, or "torch":
            every weight as torch's own layers draw it.
        nonlinearity: What the units apply: "tanh" or "relu".
    """

    model: Literal["rnn"] = "rnn"
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    @property
    def has_fused_kernel(self) -> bool:
        """A kernel runs both forms."""
        return True


def build(config: RNNConfig, input_size: int | None) -> Any:
    """Return the backbone."""
    from carousel.models.recurrent import RecurrentBackbone
    from carousel.nn.rnn import RNN

    layer = RNN(**config.layer_arguments, nonlinearity=config.nonlinearity)
    return RecurrentBackbone(config, layer)


FAMILY = Family(
    name="rnn",
    title="vanilla RNN",
    config=RNNConfig,
    build=build,
    variants={"rnn_tanh": {}, "rnn_relu": {"nonlinearity": "relu"}},
)
