"""`carousel.RNN`: takes and returns what torch.nn.RNN does; runs carousel.ops.rnn."""

from typing import Literal, final

import torch

from carousel.kernels.dispatch import Backend
from carousel.nn import parameters
from carousel.nn.recurrent_layer import RecurrentLayer
from carousel.nn.validation import check_no_projection
from carousel.ops.recurrence import Family
from carousel.ops.rnn import RNN_RELU, RNN_TANH

FAMILIES = {"tanh": RNN_TANH, "relu": RNN_RELU}


@final
class RNN(RecurrentLayer):
    """Stacked vanilla recurrence, h = tanh(W x + U h + b), a drop-in for torch.nn.RNN.

    Parameter names, layout, initialisation U(-1/√H, 1/√H) and therefore `state_dict` are torch's;
    a state_dict moves both ways without renaming.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        nonlinearity: "tanh" or "relu".
        bias: Whether the units have biases (two each, as in torch).
        batch_first: Input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: Probability of zeroing a feature between layers while training.
        bidirectional: Whether a second recurrence reads each sequence from its end; outputs and
            states of both stand side by side.
        device: Where the parameters are made.
        dtype: Type of the parameters.
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
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
        proj_size: None = None,
    ) -> None:
        super().__init__()
        check_no_projection("RNN", proj_size)
        if nonlinearity not in FAMILIES:
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self._set_up(
            f"RNN_{nonlinearity.upper()}",
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
        """The op of the nonlinearity."""
        return FAMILIES[self.nonlinearity]
