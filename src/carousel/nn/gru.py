"""`carousel.GRU`: takes and returns what torch.nn.GRU does; runs carousel.ops.gru."""

from typing import final

import torch

from carousel.kernels.dispatch import Backend
from carousel.nn import parameters
from carousel.nn.recurrent_layer import KeepGate, RecurrentLayer
from carousel.nn.validation import check_is, check_no_projection
from carousel.ops import gru as op
from carousel.ops.recurrence import Family


@final
class GRU(RecurrentLayer):
    """Stacked gated recurrent units, a drop-in for torch.nn.GRU.

    Parameter names, layout (gate order r, z, n), initialisation U(-1/√H, 1/√H) and therefore
    `state_dict` are torch's; a state_dict moves both ways without renaming.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        bias: Whether the gates have biases (two per gate, as in torch).
        batch_first: Input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: Probability of zeroing a feature between layers while training.
        bidirectional: Whether a second recurrence reads each sequence from its end; outputs and
            states of both stand side by side.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        reset_after: Whether the reset gate acts after the recurrent product, as in torch and
            cuDNN, or before it, on the state, as in the paper (Cho et al. 2014).
        backend: "bptt" uses the hand-derived backward pass, "autograd" lets torch differentiate the
            loop, "auto" picks the fastest that applies. They give the same numbers.
        proj_size: Refused, as by torch: only LSTM has a projection.

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
        reset_after: bool = True,
        backend: Backend = "auto",
        proj_size: None = None,
    ) -> None:
        super().__init__()
        check_no_projection("GRU", proj_size)
        check_is("reset_after", reset_after, bool)
        self.reset_after = reset_after
        self._set_up(
            "GRU",
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
        """The op, with the reset gate after the product or before it."""
        return op.GRU if self.reset_after else op.GRU_RESET_BEFORE

    @property
    def keep_gate(self) -> KeepGate:
        """The update gate: z keeps, 1 - z takes in."""
        return KeepGate(gate=1, sign=1, input_gate=None)  # of r, z, n

    @property
    def options(self) -> dict[str, tuple[object, object]]:
        """Value and default of each argument that torch lacks."""
        return {"reset_after": (self.reset_after, True)}
