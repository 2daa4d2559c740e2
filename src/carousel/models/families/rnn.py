"""The vanilla RNN: h_t = tanh(W x_t + U h_{t-1} + b). Equations: math/rnn; op: ops/rnn.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.models.families.family import RecurrentConfig, recurrent_family


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


def layer() -> Any:
    """Return the layer's class."""
    from carousel.nn.rnn import RNN

    return RNN


FAMILY = recurrent_family(
    RNNConfig,
    layer,
    title="vanilla RNN",
    variants={"rnn_tanh": {"nonlinearity": "tanh"}, "rnn_relu": {"nonlinearity": "relu"}},
)
