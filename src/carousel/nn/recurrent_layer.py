"""The base of RNN, GRU, LSTM and of every other stack of recurrent layers.

T time steps, B sequences, D input features, H units, P features of the output (H without
projection), L layers, times 2 where bidirectional.
"""

import warnings
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from carousel.kernels.dispatch import Backend, check_backend
from carousel.nn import packing, parameters, validation
from carousel.nn.autograd import compute_dtype_of, disable_autocast
from carousel.nn.embedding import Embedding
from carousel.nn.embedding_input import Embedded, TokenInput, check_ids, is_quicker_by_table
from carousel.nn.packing import Layout
from carousel.nn.regularization import NO_REGULARIZATION, Regularization
from carousel.nn.rnn_base import RNNBase
from carousel.nn.stack import stack
from carousel.ops.recurrence import Family, State


class KeepGate(NamedTuple):
    """Return the rows of a layer's packed biases that belong to the gate that keeps the state.

    Attributes:
        gate: Number of the gate.
        sign: 1 if the gate keeps, -1 if it takes in, and what it leaves is kept.
        input_gate: Number of the gate that takes in; None where it is the same one.
    """

    gate: int
    sign: int
    input_gate: int | None


class RecurrentLayer(RNNBase):
    """A stack of recurrent layers of one family.

    A subclass sets `state_names`, makes its options attributes, calls `_set_up`, and overrides
    `family`; what else it may override stands below. The parameters are read by name at every call.
    """

    __constants__ = (
        *("mode", "input_size", "hidden_size", "num_layers", "bias"),
        *("batch_first", "dropout", "bidirectional", "proj_size"),
    )
    state_names: ClassVar[tuple[str, ...]] = ("h_0",)  # the parts of the initial state

    mode: str
    bias: bool
    dropout: float
    backend: Backend

    @property
    def family(self) -> Family:
        """The op that the layer runs, as its options ask for."""
        raise NotImplementedError(f"{type(self).__name__} names no family")

    @property
    def state_sizes(self) -> dict[str, int]:
        """Features of each part of the state, by its name."""
        sizes = {"h_0": self.proj_size or self.hidden_size, "c_0": self.hidden_size}
        return {name: sizes[name] for name in self.state_names}

    @property
    def regularization(self) -> Regularization:
        """The probabilities of what is left out inside the recurrence."""
        return NO_REGULARIZATION

    @property
    def keep_gate(self) -> KeepGate | None:
        """The gate whose bias decides how long a unit remembers; None: there is none."""
        return None

    @property
    def options(self) -> dict[str, tuple[object, object]]:
        """Value and default of each argument that torch's layers lack, for the repr."""
        return {}

    def parameter_shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Return the parameters of one layer in one direction: name without suffix, and shape."""
        return parameters.shapes(
            self.family.gates,
            input_size,
            self.hidden_size,
            bias=self.bias,
            proj_size=self.proj_size,
        )

    def forward(
        self, input: Tensor | PackedSequence | TokenInput, hx: Any = None
    ) -> tuple[Any, Any]:
        """Run the input through all layers.

        Args:
            input: (T, B, D), or (B, T, D) if batch_first, (T, D) for one sequence alone, or a
                PackedSequence; or a TokenInput, ids and their embedding.
            hx: Initial state: h_0, or the pair (h_0, c_0) of the LSTM. Each part is (L, B, ·), or
                (L, ·) for one sequence, 2·L where bidirectional; None is zeros.

        Returns:
            The last layer's outputs, in the form of the input, with P features, 2·P where
            bidirectional; and the last state, shaped like hx.

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does; the
                message names what came and what was expected.
            IndexError: If an id is no token's.
        """
        state = validation.as_state(hx, self.state_names)
        y: Tensor | PackedSequence
        if isinstance(input, TokenInput):
            y, last = self._run_ids(*input, state)
        elif isinstance(input, PackedSequence):
            y, last = self._run_packed(input, state)
        else:
            y, last = self._run_features(input, state)
        return y, last if len(last) > 1 else last[0]

    def from_ids(self, ids: Tensor, embedding: Embedding, hx: Any = None) -> tuple[Any, Any]:
        """Return what forward(TokenInput(ids, embedding), hx) does; deprecated in its favour."""
        warnings.warn(
            f"{type(self).__name__}.from_ids is deprecated: call the layer with "
            "carousel.nn.embedding_input.TokenInput(ids, embedding)",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.forward(TokenInput(ids, embedding), hx)

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H); normalisation has gains 1, shift 0."""
        parameters.reset(self, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, torch's first and as torch does."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        plain = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        plain |= {"dropout": 0, "bidirectional": False}
        values = ((name, getattr(self, name), default) for name, default in plain.items())
        shown += [f"{name}={value}" for name, value, default in values if value != default]
        beyond = self.options | {"backend": (self.backend, "auto")}
        shown += [f"{name}={value!r}" for name, (value, plain) in beyond.items() if value != plain]
        return ", ".join(shown)

    def _set_up(
        self,
        mode: str,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        backend: Backend,
        device: parameters.Device,
        dtype: torch.dtype | None,
        proj_size: int = 0,
    ) -> None:
        """Keep the arguments after a check of each, and make and draw the parameters."""
        validation.check_probability("dropout", dropout)
        validation.check_is("bias", bias, bool)
        validation.check_is("batch_first", batch_first, bool)
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in (sizes | {"proj_size": proj_size}).items():
            setattr(self, name, validation.as_size(name, size))
        validation.check_sizes(
            input_size=self.input_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            proj_size=self.proj_size,
        )
        check_backend(backend)
        if dropout > 0 and self.num_layers == 1:
            message = f"dropout={dropout} acts between layers, and there is one layer only"
            warnings.warn(message, stacklevel=3)  # points to where the layer is made
        self.mode, self.bias, self.batch_first = mode, bias, batch_first
        self.dropout, self.bidirectional, self.backend = float(dropout), bidirectional, backend
        self._all_weights = []
        for k in range(self.num_layers):
            width = (self.proj_size or self.hidden_size) * (2 if bidirectional else 1)
            shapes = self.parameter_shapes(self.input_size if k == 0 else width)
            for suffix in parameters.suffixes(k, bidirectional):
                parameters.register(self, shapes, suffix, device=device, dtype=dtype)
                self._all_weights.append([name + suffix for name in shapes])
        self.reset_parameters()

    def _run_features(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run a batch of sequences, or one alone; output and state are of the same form."""
        validation.check_axes(type(self).__name__, input, (2, 3))
        is_batched = input.dim() == 3
        x = input if is_batched else input.unsqueeze(1)
        x = x.transpose(0, 1) if self.batch_first and is_batched else x  # (T, B, D)
        self._check_features(x, ValueError)
        if x.shape[0] == 0:
            raise RuntimeError("input has no time steps; it needs at least 1")
        start = self._initial_state(x, state, (x.shape[1],) if is_batched else ())
        start = start if is_batched else tuple(part.unsqueeze(1) for part in start)
        y, last = self._run_stack(x, start, is_batch_first=self.batch_first and is_batched)
        return (y, last) if is_batched else (y.squeeze(1), tuple(part.squeeze(1) for part in last))

    def _run_packed(
        self, input: PackedSequence, state: State | None
    ) -> tuple[PackedSequence, State]:
        """Run a packed batch; states are in the user's order, sequences within by their length."""
        if input.data.dim() != 2:
            raise RuntimeError(f"packed data must have 2 axes, got {input.data.dim()}")
        # torch's LSTM meets a wrong type in its first product only.
        self._check_features(input.data, RuntimeError if "c_0" in self.state_names else ValueError)
        lengths = packing.layout(input)
        start = self._initial_state(input.data, state, (lengths.batch,))
        if input.sorted_indices is not None:
            start = tuple(part.index_select(1, input.sorted_indices) for part in start)
        y, last = self._run_stack(packing.pad(input.data, lengths), start, lengths)
        if input.unsorted_indices is not None:
            last = tuple(part.index_select(1, input.unsorted_indices) for part in last)
        return PackedSequence(packing.pack(y, lengths), *input[1:]), last

    def _run_ids(
        self, ids: Tensor, embedding: Embedding, state: State | None
    ) -> tuple[Tensor, State]:
        """Run ids, by a table of all tokens where that is quicker, else by their features."""
        check_ids(ids)
        drops_features = self.training and self.regularization.variational_dropout > 0
        if not is_quicker_by_table(ids, embedding, drops_features=drops_features):
            return self._run_features(embedding(ids), state)
        self._check_features(embedding.weight, ValueError)
        by_time = ids.T if self.batch_first else ids  # (T, B)
        start = self._initial_state(embedding.weight, state, (by_time.shape[1],))
        x = Embedded(by_time, embedding.weight)
        return self._run_stack(x, start, is_batch_first=self.batch_first)

    def _run_stack(
        self,
        x: Tensor | Embedded,
        state: State,
        lengths: Layout | None = None,
        *,
        is_batch_first: bool = False,
    ) -> tuple[Tensor, State]:
        """Run x (T, B, D), or ids (T, B), through the stack, in the precision of its weights.

        The outputs are (T, B, ·), or (B, T, ·) if is_batch_first.
        """
        layers = [parameters.collect(self, names) for names in self._all_weights]
        directions = 2 if self.bidirectional else 1
        dtype, compute_dtype = layers[0].w_ih.dtype, compute_dtype_of(layers[0].w_ih)
        with disable_autocast(x.device):
            return stack(
                self.family,
                x.to(dtype),
                tuple(part.to(dtype) for part in state),
                [layers[k : k + directions] for k in range(0, len(layers), directions)],
                lengths=lengths,
                is_batch_first=is_batch_first,
                dropout=self.dropout,
                regularization=self.regularization,
                is_training=self.training,
                backend=self.backend,
                compute_dtype=compute_dtype,
            )

    def _check_features(self, x: Tensor, kind: type[Exception]) -> None:
        """Refuse an input of another type or of other features."""
        validation.check_fits("input", x, self._first_weight, kind)
        validation.check_features(x, self.input_size)

    def _initial_state(self, x: Tensor, state: State | None, rows: tuple[int, ...]) -> State:
        """Return the given state after a check, or zeros; each part (2·L or L, *rows, H or P)."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        shapes = {name: (count, *rows, size) for name, size in self.state_sizes.items()}
        if state is None:
            return tuple(x.new_zeros(shape) for shape in shapes.values())
        validation.check_shapes(state, shapes)
        for name, part in zip(shapes, state, strict=True):
            validation.check_fits(name, part, self._first_weight, RuntimeError)
        return state

    @property
    def _first_weight(self) -> Tensor:
        """weight_ih_l0, whose type and device are those of all."""
        weight: Tensor = getattr(self, self._all_weights[0][0])
        return weight
