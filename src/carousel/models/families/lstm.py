"""The LSTM, plain and in its variants. Equations: math/lstm; op: ops/lstm.py."""

from dataclasses import dataclass
from typing import Any, Literal

from carousel.errors import ConfigError
from carousel.limits import bounded
from carousel.models.families.family import GatedConfig, recurrent_family
from carousel.nn.lstm_options import OPTIONS, clashing_options


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(GatedConfig):
    """Settings of the LSTM.

    Attributes:
        peephole: Let the gates see the cell.
        coupled: Forget as much as is taken in: f = 1 - i.
        forget_gate: Without it the LSTM never forgets, as in 1997.
        layer_norm: Normalise the gates, and the cell on its way out.
        proj_size: Features to which the output is projected. 0 leaves all H.
        zoneout: Probability that a unit keeps its state. Drawn for every time step.
        recurrent_dropout: Probability of adding nothing to a cell.
        variational_dropout: Probability of dropping a feature for a whole window. Of a layer's
            input, and of what it reads of its last output.
    """

    model: Literal["lstm"] = "lstm"
    peephole: bool = False
    coupled: bool = False
    forget_gate: bool = True
    layer_norm: bool = False
    proj_size: int = bounded(0, at_least=0)
    zoneout: float = bounded(0.0, at_least=0, below=1)
    recurrent_dropout: float = bounded(0.0, at_least=0, below=1)
    variational_dropout: float = bounded(0.0, at_least=0, below=1)

    @property
    def output_size(self) -> int:
        """Features of the last layer's output, P."""
        return self.proj_size or self.hidden_size

    @property
    def has_keep_gate(self) -> bool:
        """Whether it forgets at all."""
        return self.forget_gate

    @property
    def has_fused_kernel(self) -> bool:
        """A kernel runs the plain form."""
        return not self.variant

    def _check_own(self) -> None:
        self._check_variants()
        super()._check_own()
        if self.proj_size >= self.hidden_size:
            raise ConfigError(
                f"proj_size must be below hidden_size, got {self.proj_size} "
                f"with hidden_size {self.hidden_size}"
            )

    def _check_variants(self) -> None:
        """Refuse variants that are not verified together."""
        options = {name: getattr(self, name) for name in OPTIONS}
        if clash := clashing_options(options, self.proj_size):
            first, second = ("forget_gate false" if n == "forget_gate" else n for n in clash)
            raise ConfigError(f"{first} does not go together with {second}")


def layer() -> Any:
    """Return the layer's class."""
    from carousel.nn.lstm import LSTM

    return LSTM


FAMILY = recurrent_family(
    LSTMConfig,
    layer,
    title="long short-term memory",
    variants={
        "lstm": {},
        "lstm_peephole": {"peephole": True},
        "lstm_projection": {"proj_size": 2},
        "lstm_peephole_projection": {"peephole": True, "proj_size": 2},
        "lstm_coupled": {"coupled": True},
        "lstm_1997": {"forget_gate": False},
        "lstm_layer_norm": {"layer_norm": True},
    },
    not_in_torch={
        "lstm_peephole": "it has no peepholes",
        "lstm_peephole_projection": "it has no peepholes",
        "lstm_coupled": "it has no coupled gates",
        "lstm_1997": "its LSTM has a forget gate",
        "lstm_layer_norm": "it normalises no recurrence",
    },
)
