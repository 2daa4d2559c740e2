"""`carousel.RNNCell`, `GRUCell`, `LSTMCell`: one time step, as their torch.nn namesakes take it.

A cell is a recurrence of T = 1. B sequences, D input features, H units.
"""

from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from carousel.kernels.dispatch import Backend, check_backend, choose_recurrence
from carousel.nn import parameters, validation
from carousel.nn.autograd import disable_autocast, opaque, product_type, wants_gradient
from carousel.nn.layer import Layer
from carousel.nn.recurrence import run
from carousel.nn.rnn import FAMILIES
from carousel.ops import gru, lstm
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, State

Cell: TypeAlias = "RNNCell | GRUCell | LSTMCell"


@final
class RNNCell(Layer):
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

    input_size: int
    hidden_size: int
    bias: bool
    backend: Backend

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
        set_up(self, 1, input_size, hidden_size, bias, device, dtype, backend)
        self.nonlinearity = nonlinearity
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H)."""
        parameters.reset(self, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        return describe(self, {"nonlinearity": (self.nonlinearity, "tanh")})

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step: input (B, D) or (D,), hx and what is returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        (h,) = call(self, FAMILIES[self.nonlinearity], input, hx, ("h_0",))
        return h


@final
class GRUCell(Layer):
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

    __constants__ = ("input_size", "hidden_size", "bias")

    input_size: int
    hidden_size: int
    bias: bool
    backend: Backend

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
        set_up(self, gru.GRU.gates, input_size, hidden_size, bias, device, dtype, backend)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H)."""
        parameters.reset(self, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        return describe(self, {})

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step: input (B, D) or (D,), hx and what is returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        (h,) = call(self, gru.GRU, input, hx, ("h_0",))
        return h


@final
class LSTMCell(Layer):
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

    __constants__ = ("input_size", "hidden_size", "bias")

    input_size: int
    hidden_size: int
    bias: bool
    backend: Backend

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
        set_up(self, lstm.LSTM.gates, input_size, hidden_size, bias, device, dtype, backend)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H)."""
        parameters.reset(self, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        return describe(self, {})

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take one step: input (B, D) or (D,), both of (h, c) given and returned (B, H) or (H,).

        Raises:
            TypeError, ValueError, RuntimeError: If something does not fit, as torch does.
        """
        h, c = call(self, lstm.LSTM, input, hx, ("h_0", "c_0"))
        return h, c


def set_up(
    cell: Cell,
    gates: int,
    input_size: int,
    hidden_size: int,
    bias: bool,
    device: parameters.Device,
    dtype: torch.dtype | None,
    backend: Backend,
) -> None:
    """Keep a cell's arguments after a check of each, and make its parameters."""
    cell.input_size = validation.as_size("input_size", input_size)
    cell.hidden_size = validation.as_size("hidden_size", hidden_size)
    sizes = {"input_size": cell.input_size, "hidden_size": cell.hidden_size}
    for name, size in sizes.items():
        if size < 0:  # torch's cells may have no units at all
            raise RuntimeError(f"{name} must be at least 0, got {size}")
    check_backend(backend)
    cell.bias = bias
    cell.backend = backend
    shapes = parameters.shapes(gates, cell.input_size, cell.hidden_size, bias=bias)
    parameters.register(cell, shapes, "", device=device, dtype=dtype)
    if not bias:
        cell.register_parameter("bias_ih", None)
        cell.register_parameter("bias_hh", None)


def describe(cell: Cell, others: dict[str, tuple[object, object]]) -> str:
    """Return the arguments that differ from their defaults; others are values and defaults."""
    shown = [f"{cell.input_size}, {cell.hidden_size}"]
    if cell.bias is not True:
        shown.append(f"bias={cell.bias}")
    shown += [f"{name}={value}" for name, (value, plain) in others.items() if value != plain]
    if cell.backend != "auto":
        shown.append(f"backend={cell.backend!r}")
    return ", ".join(shown)


@opaque
def call(cell: Cell, family: Family, input: Tensor, hx: object, names: tuple[str, ...]) -> State:
    """Take one step from the state hx, whose parts have these names."""
    validation.check_axes(type(cell).__name__, input, (1, 2))
    validation.check_features(input, cell.input_size)
    shape = (*input.shape[:-1], cell.hidden_size)
    given = validation.as_state(hx, names)
    state = given or tuple(input.new_zeros(shape) for _ in names)
    for name, part in zip(names, state, strict=True):
        if part.dim() not in (1, 2):
            raise ValueError(f"{name} must have 1 or 2 axes, got {part.dim()}")
        validation.check_shapes((part,), {name: shape})
    own = parameters.collect(cell, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    for name, tensor in zip(("input", *names), (input, *state), strict=True):
        validation.check_fits(name, tensor, own.w_ih, RuntimeError)
    dtype, product = own.w_ih.dtype, product_type(own.w_ih)
    with disable_autocast(input.device):
        x = input.to(dtype).reshape(1, -1, cell.input_size)  # (T = 1, B, D)
        rows = tuple(part.to(dtype).reshape(-1, cell.hidden_size) for part in state)
        source = DenseInput(x, own.w_ih, own.b_ih, own.gain)
        implementation = choose_recurrence(
            cell.backend, family, source, rows, own.weights, NO_MASKS, product
        )
        _, last = run(implementation, family, source, rows, own.weights)
    h, *others = last
    if wants_gradient(*others):  # the backward pass keeps c; the copy may be changed in place
        others = [part.clone() for part in others]
    return tuple(part.reshape(shape) if part.shape != shape else part for part in (h, *others))
