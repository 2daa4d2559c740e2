"""`carousel.RNNCell`, `GRUCell`, `LSTMCell`: one time step, as their torch.nn namesakes take it.

A cell is a recurrence of T = 1. B sequences, D input features, H units.
"""

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from carousel.kernels.dispatch import Backend, check_backend, choose_recurrence
from carousel.nn import parameters, validation
from carousel.nn.autograd import compute_dtype_of, disable_autocast, opaque, wants_gradient
from carousel.nn.layer import Layer
from carousel.nn.recurrence import run
from carousel.nn.rnn import FAMILIES
from carousel.ops import gru, lstm
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, State


class RecurrentCell(Layer):
    """One time step of a recurrence; a subclass names its family."""

    __constants__: tuple[str, ...] = ("input_size", "hidden_size", "bias")
    state_names: ClassVar[tuple[str, ...]] = ("h_0",)

    input_size: int
    hidden_size: int
    bias: bool
    backend: Backend

    @property
    def family(self) -> Family:
        """The op that the cell runs."""
        raise NotImplementedError(f"{type(self).__name__} names no family")

    @property
    def options(self) -> dict[str, tuple[object, object]]:
        """Value and default of each argument beside sizes and bias, for the repr."""
        return {}

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H)."""
        parameters.reset(self, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        if self.bias is not True:
            shown.append(f"bias={self.bias}")
        shown += [f"{name}={value}" for name, (value, off) in self.options.items() if value != off]
        if self.backend != "auto":
            shown.append(f"backend={self.backend!r}")
        return ", ".join(shown)

    def _set_up(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: parameters.Device,
        dtype: torch.dtype | None,
        backend: Backend,
    ) -> None:
        """Keep the arguments after a check of each, and make and draw the parameters."""
        self.input_size = validation.as_size("input_size", input_size)
        self.hidden_size = validation.as_size("hidden_size", hidden_size)
        sizes = {"input_size": self.input_size, "hidden_size": self.hidden_size}
        for name, size in sizes.items():
            if size < 0:  # torch's cells may have no units at all
                raise RuntimeError(f"{name} must be at least 0, got {size}")
        check_backend(backend)
        self.bias = bias
        self.backend = backend
        gates = self.family.gates
        shapes = parameters.shapes(gates, self.input_size, self.hidden_size, bias=bias)
        parameters.register(self, shapes, "", device=device, dtype=dtype)
        if not bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    @opaque
    def _step(self, input: Tensor, hx: object) -> State:
        """Run one step from the state hx."""
        validation.check_axes(type(self).__name__, input, (1, 2))
        validation.check_features(input, self.input_size)
        shape = (*input.shape[:-1], self.hidden_size)
        given = validation.as_state(hx, self.state_names)
        state = given or tuple(input.new_zeros(shape) for _ in self.state_names)
        for name, part in zip(self.state_names, state, strict=True):
            if part.dim() not in (1, 2):
                raise ValueError(f"{name} must have 1 or 2 axes, got {part.dim()}")
            validation.check_shapes((part,), {name: shape})
        own = parameters.collect(self, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        named = zip(("input", *self.state_names), (input, *state), strict=True)
        for name, tensor in named:
            validation.check_fits(name, tensor, own.w_ih, RuntimeError)
        dtype, compute_dtype = own.w_ih.dtype, compute_dtype_of(own.w_ih)
        with disable_autocast(input.device):
            x = input.to(dtype).reshape(1, -1, self.input_size)  # (T = 1, B, D)
            rows = tuple(part.to(dtype).reshape(-1, self.hidden_size) for part in state)
            source = DenseInput(x, own.w_ih, own.b_ih, own.gain)
            implementation = choose_recurrence(
                self.backend, self.family, source, rows, own.weights, NO_MASKS, compute_dtype
            )
            _, last = run(implementation, self.family, source, rows, own.weights)
        h, *others = last
        if wants_gradient(*others):  # the backward pass keeps c; the copy may be changed in place
            others = [part.clone() for part in others]
        return tuple(part.reshape(shape) if part.shape != shape else part for part in (h, *others))


@final
class RNNCell(RecurrentCell):
    """One time step of a vanilla recurrence, a drop-in for torch.nn.RNNCell.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units, H.
        bias: Whether the units have biases (two each, as in torch).
        nonlinearity: "tanh" or "relu".
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: As in carousel.RNN.

    Raises:
        RuntimeError: If a size is negative, or the nonlinearity unknown.
        ValueError: If there is no such backend.
        TypeError: If a size is no int.
    """

    __constants__ = ("input_size", "hidden_size", "bias", "nonlinearity")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        if nonlinearity not in FAMILIES:
            raise RuntimeError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self._set_up(input_size, hidden_size, bias, device, dtype, backend)

    @property
    def family(self) -> Family:
        """The op of the nonlinearity."""
        return FAMILIES[self.nonlinearity]

    @property
    def options(self) -> dict[str, tuple[object, object]]:
        """Value and default of the nonlinearity."""
        return {"nonlinearity": (self.nonlinearity, "tanh")}

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step: input (B, D) or (D,), hx and what is returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        (h,) = self._step(input, hx)
        return h


@final
class GRUCell(RecurrentCell):
    """One time step of a gated recurrent unit, a drop-in for torch.nn.GRUCell.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units, H.
        bias: Whether the gates have biases (two per gate, as in torch).
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: As in carousel.GRU.

    Raises:
        RuntimeError: If a size is negative.
        ValueError: If there is no such backend.
        TypeError: If a size is no int.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self._set_up(input_size, hidden_size, bias, device, dtype, backend)

    @property
    def family(self) -> Family:
        """The op that the cell runs."""
        return gru.GRU

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step: input (B, D) or (D,), hx and what is returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        (h,) = self._step(input, hx)
        return h


@final
class LSTMCell(RecurrentCell):
    """One time step of a long short-term memory, a drop-in for torch.nn.LSTMCell.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units, H.
        bias: Whether the gates have biases (two per gate, as in torch).
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: As in carousel.LSTM.

    Raises:
        RuntimeError: If a size is negative.
        ValueError: If there is no such backend.
        TypeError: If a size is no int.
    """

    state_names = ("h_0", "c_0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: parameters.Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self._set_up(input_size, hidden_size, bias, device, dtype, backend)

    @property
    def family(self) -> Family:
        """The op that the cell runs."""
        return lstm.LSTM

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take one step: input (B, D) or (D,), both of (h, c) given and returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        h, c = self._step(input, hx)
        return h, c
