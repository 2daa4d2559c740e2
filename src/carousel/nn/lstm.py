"""`carousel.LSTM`: takes and returns what torch.nn.LSTM does; runs carousel.ops.lstm and kin."""

from typing import final

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from carousel.kernels.dispatch import Backend
from carousel.nn import parameters
from carousel.nn.embedding import Embedding
from carousel.nn.from_ids import TokenInput, call_from_ids
from carousel.nn.module import add_parameters, call, describe, set_arguments
from carousel.nn.recurrent_layer import RecurrentLayer
from carousel.nn.regularization import Extras
from carousel.nn.validation import as_state, check_is, check_probability
from carousel.ops import lstm as plain
from carousel.ops.lstm_layer_norm import LSTM_LAYER_NORM
from carousel.ops.lstm_three_gates import LSTM_1997, LSTM_COUPLED
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
        backend: "bptt" the hand-derived reverse, "autograd" the loop differentiated by torch,
            "auto" the fastest that applies. They give the same numbers.

    Raises:
        ValueError: If a size is below 1, something is no probability, a name is unknown, or extras
            are combined that are not verified together.
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
        set_arguments(
            self,
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
        )
        self.peephole = peephole
        self.coupled = coupled
        self.forget_gate = forget_gate
        self.layer_norm = layer_norm
        self.zoneout = zoneout
        self.recurrent_dropout = recurrent_dropout
        self.variational_dropout = variational_dropout
        check_extras(self)
        add_parameters(
            self, family(self).gates, device, dtype, peephole=peephole, layer_norm=layer_norm
        )
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        return describe(self, {name: (getattr(self, name), off) for name, off in EXTRAS.items()})

    def forward(
        self, input: Tensor | PackedSequence | TokenInput, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Run the input through all layers.

        Args:
            input: (T, B, D), or (B, T, D) if batch_first, (T, D) for one sequence alone, or a
                PackedSequence; or a TokenInput, as from_ids.
            hx: Initial (h_0, c_0): (L, B, P) and (L, B, H), without B for one sequence, 2·L where
                bidirectional; P is H without projection. None is zeros.

        Returns:
            The last layer's outputs, in the form of the input, with P features, 2·P where
            bidirectional; and the last states (h_n, c_n), shaped like hx.

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does; the
                message names what came and what was expected.
        """
        if isinstance(input, TokenInput):
            return self.from_ids(*input, hx)
        extras = Extras(self.zoneout, self.recurrent_dropout, self.variational_dropout)
        y, (h_n, c_n) = call(self, family(self), input, as_state(hx, ("h_0", "c_0")), extras)
        return y, (h_n, c_n)

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

    def from_ids(
        self, ids: Tensor, embedding: Embedding, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return what forward(embedding(ids), hx) does, sooner where the ids outnumber the tokens.

        Then each token's vector goes through the input's product once, and every place looks its
        row up; math/recurrence/equations.md, "From ids".

        Args:
            ids: (T, B), or (B, T) if batch_first, (T,) for one sequence alone; -1, no token at all,
                is the zero vector.
            embedding: Of D features.
            hx: As forward takes it.

        Raises:
            TypeError, ValueError, RuntimeError: As forward does; TypeError also if the ids are no
                integers.
            IndexError: If an id is no token's.
        """
        extras = Extras(self.zoneout, self.recurrent_dropout, self.variational_dropout)
        state = as_state(hx, ("h_0", "c_0"))
        y, (h_n, c_n) = call_from_ids(self, family(self), ids, embedding, state, extras)
        return y, (h_n, c_n)


# What torch lacks, and the value that switches it off.
EXTRAS: dict[str, object] = {
    "peephole": False,
    "coupled": False,
    "forget_gate": True,
    "layer_norm": False,
    "zoneout": 0.0,
    "recurrent_dropout": 0.0,
    "variational_dropout": 0.0,
}


def family(layer: LSTM) -> Family:
    """Return the op that a layer's switches ask for."""
    if layer.coupled:
        return LSTM_COUPLED
    if not layer.forget_gate:
        return LSTM_1997
    return LSTM_LAYER_NORM if layer.layer_norm else plain.LSTM


def check_extras(layer: LSTM) -> None:
    """Refuse what is no switch or no probability, and what is not verified together.

    Zoneout and variational dropout go with every family; the rest with the ordinary LSTM alone.

    Raises:
        TypeError: If a switch is no bool.
        ValueError: Otherwise; the message names both.
    """
    for name in ("peephole", "coupled", "forget_gate", "layer_norm"):
        check_is(name, getattr(layer, name), bool)
    for name in ("zoneout", "recurrent_dropout", "variational_dropout"):
        check_probability(name, getattr(layer, name))
    on = [name for name, off in EXTRAS.items() if getattr(layer, name) != off]
    kinds = [name for name in ("coupled", "forget_gate", "layer_norm") if name in on]
    plain_only = [name for name in ("peephole", "recurrent_dropout") if name in on]
    clashing = kinds[1:] + plain_only + (["proj_size"] if layer.proj_size else [])
    if kinds and clashing:
        both = (f"{name}={getattr(layer, name)}" for name in (kinds[0], clashing[0]))
        raise ValueError(f"{' with '.join(both)} is not verified; use one without the other")
