"""`carousel.LSTM`: takes and returns what torch.nn.LSTM does; runs carousel.ops.lstm and kin."""

from typing import final

import torch
from torch import Tensor

from carousel.kernels.dispatch import Backend
from carousel.nn import parameters
from carousel.nn.lstm_options import OPTIONS, clashing_options
from carousel.nn.recurrent_layer import KeepGate, RecurrentLayer
from carousel.nn.regularization import Regularization
from carousel.nn.validation import check_is, check_probability
from carousel.ops import lstm as plain
from carousel.ops.lstm_variants import (
    LSTM_1997,
    LSTM_COUPLED,
    LSTM_LAYER_NORM,
    LSTM_WITH_OPTIONS,
)
from carousel.ops.recurrence import Family


@final
class LSTM(RecurrentLayer):
    """Stacked long short-term memory, a drop-in for torch.nn.LSTM.

    Parameter names, layout (gate order i, f, g, o), initialisation U(-1/√H, 1/√H) and therefore
    `state_dict` are torch's; a state_dict moves both ways without renaming. What torch lacks is
    keyword-only and off by default; parameters that it brings stand after torch's own.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        bias: Whether the gates have biases (two per gate, as in torch).
        batch_first: Input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: Probability of zeroing a feature between layers while training.
        bidirectional: Whether a second recurrence reads each sequence from its end; outputs and
            states of both stand side by side.
        proj_size: Features P < H that h is projected to; 0 leaves all H.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        peephole: Whether the gates see the cell: weight_ci, weight_cf, weight_co, (H,) each.
        coupled: Whether the forget gate is 1 - i. Three gates: i, g, o.
        forget_gate: Without it the cell keeps all, as in 1997. Three gates: i, g, o.
        layer_norm: Whether both products and the cell on its way out are normalised: norm_ih,
            norm_hh (4·H,) and norm_c (H,) multiply, the biases and norm_c_bias (H,) shift.
        zoneout: Probability of a unit keeping its old h, and its old c, at a time step; out of
            training that part of the old is kept.
        recurrent_dropout: Probability of a unit adding nothing to its cell at a time step, while
            training.
        variational_dropout: Probability of each layer not seeing a feature of its input, and of the
            recurrent product not seeing a unit of h, for a whole sequence, while training.
        backend: "bptt" uses the hand-derived backward pass, "autograd" lets torch differentiate the
            loop, "auto" picks the fastest that applies. They give the same numbers.

    Raises:
        ValueError: If a size is below 1, something is no probability, a name is unknown, or extras
            are combined that are not verified together.
        TypeError: If a size is no int, or a switch no bool.
    """

    state_names = ("h_0", "c_0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        peephole: bool = False,
        coupled: bool = False,
        forget_gate: bool = True,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        recurrent_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.peephole = peephole
        self.coupled = coupled
        self.forget_gate = forget_gate
        self.layer_norm = layer_norm
        self.zoneout = zoneout
        self.recurrent_dropout = recurrent_dropout
        self.variational_dropout = variational_dropout
        self._check_options(proj_size)
        self._set_up(
            "LSTM",
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            backend=backend,
            device=device,
            dtype=dtype,
        )

    @property
    def family(self) -> Family:
        """The op that the options ask for."""
        if self.coupled:
            return LSTM_COUPLED
        if not self.forget_gate:
            return LSTM_1997
        if self.layer_norm:
            return LSTM_LAYER_NORM
        is_dropping = self.training and self.recurrent_dropout > 0
        has_options = self.peephole or self.proj_size > 0 or is_dropping
        return LSTM_WITH_OPTIONS if has_options else plain.LSTM

    @property
    def regularization(self) -> Regularization:
        """The probabilities of zoneout and of both dropouts."""
        return Regularization(self.zoneout, self.recurrent_dropout, self.variational_dropout)

    @property
    def keep_gate(self) -> KeepGate | None:
        """The forget gate, or the input gate that is coupled to it; None without either."""
        if not self.forget_gate:
            return None
        if self.coupled:
            return KeepGate(gate=0, sign=-1, input_gate=None)  # of i, g, o
        return KeepGate(gate=1, sign=1, input_gate=0)  # of i, f, g, o

    @property
    def options(self) -> dict[str, tuple[object, object]]:
        """Value and default of each argument that torch lacks."""
        return {name: (getattr(self, name), off) for name, off in OPTIONS.items()}

    def parameter_shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Return torch's parameters, then those of the options."""
        units, packed = (self.hidden_size,), (self.family.gates * self.hidden_size,)
        named = super().parameter_shapes(input_size)
        if self.peephole:
            named |= {"weight_ci": units, "weight_cf": units, "weight_co": units}
        if self.layer_norm:
            named |= {"norm_ih": packed, "norm_hh": packed, "norm_c": units, "norm_c_bias": units}
        return named

    def get_expected_cell_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """Return the shape of c_0 for such an input."""
        count, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return count, batch, self.hidden_size

    def check_forward_args(
        self, input: Tensor, hidden: tuple[Tensor, Tensor], batch_sizes: Tensor | None
    ) -> None:
        """Refuse an input, or a state (h_0, c_0), that does not fit."""
        self.check_input(input, batch_sizes)
        h_shape = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], h_shape, "Expected hidden[0] size {}, got {}")
        c_shape = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[1], c_shape, "Expected hidden[1] size {}, got {}")

    def _check_options(self, proj_size: int) -> None:
        """Check the options: flags, probabilities, and combinations that are verified.

        Zoneout and variational dropout go with every variant; the others with the ordinary LSTM.

        Raises:
            TypeError: If a switch is no bool.
            ValueError: Otherwise; the message names both.
        """
        for name in ("peephole", "coupled", "forget_gate", "layer_norm"):
            check_is(name, getattr(self, name), bool)
        for name in ("zoneout", "recurrent_dropout", "variational_dropout"):
            check_probability(name, getattr(self, name))
        clash = clashing_options({name: getattr(self, name) for name in OPTIONS}, proj_size)
        if clash is not None:
            values = {"proj_size": proj_size} | {name: getattr(self, name) for name in OPTIONS}
            both = (f"{name}={values[name]}" for name in clash)
            raise ValueError(f"{' with '.join(both)} is not verified; use one without the other")
