"""The layer of the minGRU; torch.nn has none."""

from typing import final

import torch

from carousel.kernels.dispatch import Backend
from carousel.nn import parameters
from carousel.nn.recurrent_layer import KeepGate, RecurrentLayer
from carousel.ops.mingru import MINGRU
from carousel.ops.recurrence import Family


@final
class MinGRU(RecurrentLayer):
    """Stacked minimal gated recurrent units: no matrix multiplies the state.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        bias: Whether gate and candidate have a bias.
        batch_first: Input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: Probability of zeroing a feature between layers while training.
        bidirectional: Whether a second recurrence reads each sequence from its end.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: As in carousel.GRU.

    Raises:
        ValueError: If a size is below 1, dropout is no probability, or a name is unknown.
        TypeError: If a size is no int, or a switch no bool.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self._set_up(
            "MinGRU",
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            backend=backend,
            device=device,
            dtype=dtype,
        )

    @property
    def family(self) -> Family:
        """The op."""
        return MINGRU

    @property
    def keep_gate(self) -> KeepGate:
        """The update gate: z takes in, 1 - z keeps."""
        return KeepGate(gate=0, sign=-1, input_gate=None)  # of z, n

    def parameter_shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Return the projection of the input; nothing is multiplied with the state."""
        rows = self.family.gates * self.hidden_size
        named: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size)}
        return named | {"bias_ih": (rows,)} if self.bias else named
