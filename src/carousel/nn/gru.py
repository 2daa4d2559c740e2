"""`carousel.GRU`: takes and returns what torch.nn.GRU does; runs carousel.ops.gru."""

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
from carousel.nn.validation import as_state, check_is, check_no_projection
from carousel.ops import gru as op


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
        backend: "bptt" the hand-derived reverse, "autograd" the loop differentiated by torch,
            "auto" the fastest that applies. They give the same numbers.
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
        set_arguments(
            self,
            "GRU",
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            backend=backend,
        )
        add_parameters(self, op.GRU.gates, device, dtype)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        return describe(self, {"reset_after": (self.reset_after, True)})

    def forward(
        self, input: Tensor | PackedSequence | TokenInput, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the input through all layers.

        Args:
            input: (T, B, D), or (B, T, D) if batch_first, (T, D) for one sequence alone, or a
                PackedSequence; or a TokenInput, as from_ids.
            hx: Initial h_0 (L, B, H), or (L, H) for one sequence, 2·L where bidirectional; None is
                zeros.

        Returns:
            The last layer's outputs, in the form of the input, with H features, 2·H where
            bidirectional; and the last state h_n, shaped like hx.

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does; the
                message names what came and what was expected.
        """
        if isinstance(input, TokenInput):
            return self.from_ids(*input, hx)
        family = op.GRU if self.reset_after else op.GRU_RESET_BEFORE
        y, (h_n,) = call(self, family, input, as_state(hx, ("h_0",)))
        return y, h_n

    def from_ids(
        self, ids: Tensor, embedding: Embedding, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
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
        family = op.GRU if self.reset_after else op.GRU_RESET_BEFORE
        y, (h_n,) = call_from_ids(self, family, ids, embedding, as_state(hx, ("h_0",)))
        return y, h_n
