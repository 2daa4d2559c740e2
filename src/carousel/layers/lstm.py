"""`carousel.LSTM`: takes and returns what torch.nn.LSTM does; runs carousel.ops.lstm."""

import warnings
from typing import final

import torch
from torch import Tensor, nn

from carousel.kernels.implementation import Backend, choose
from carousel.layers.recurrence import (
    add_parameters,
    is_autocast_on,
    layer_parameters,
    reset_parameters,
    stack,
)
from carousel.ops.lstm import LSTM as FAMILY


@final
class LSTM(nn.Module):
    """Stacked long short-term memory, a drop-in for torch.nn.LSTM.

    Parameter names, layout (gate order i, f, g, o), initialisation U(-1/√H, 1/√H) and therefore
    `state_dict` are torch's; a state_dict moves both ways without renaming.

    Args:
        input_size: Features of the input, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        bias: Whether the gates have biases (two per gate, as in torch).
        batch_first: Input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: Probability of zeroing a feature between layers while training.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: "bptt" the hand-derived reverse, "autograd" the loop differentiated by torch,
            "auto" the fastest that applies. They give the same numbers.

    Raises:
        ValueError: If a size is below 1, or dropout is no probability.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a probability in [0, 1], got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between layers, and there is one layer only", stacklevel=2
            )
        choose(backend)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.backend: Backend = backend
        add_parameters(
            self,
            FAMILY,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew from U(-1/√H, 1/√H)."""
        reset_parameters(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Do nothing: there is no packed copy to refresh. Here because torch.nn.LSTM has it."""

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        if self.num_layers != 1:
            shown.append(f"num_layers={self.num_layers}")
        if not self.bias:
            shown.append("bias=False")
        if self.batch_first:
            shown.append("batch_first=True")
        if self.dropout:
            shown.append(f"dropout={self.dropout}")
        if self.backend != "auto":
            shown.append(f"backend={self.backend!r}")
        return ", ".join(shown)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the input through all layers.

        Args:
            input: (T, B, D), or (B, T, D) if batch_first, or (T, D) for one sequence alone.
            hx: Initial (h_0, c_0), each (L, B, H), or (L, H) for one sequence; None is zeros.

        Returns:
            The last layer's outputs, (T, B, H), (B, T, H) or (T, H), and the last states
            (h_n, c_n), shaped like hx.

        Raises:
            ValueError: If a shape or type does not fit; the message names both.
        """
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM expects input of 2 or 3 axes, got {input.dim()}")
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"input has {input.shape[-1]} features, the layer expects {self.input_size}"
            )
        is_batched = input.dim() == 3
        x = input.unsqueeze(1) if not is_batched else input
        x = x.transpose(0, 1) if self.batch_first and is_batched else x  # (T, B, D)
        if x.shape[0] == 0:
            raise ValueError("input has no time steps; it needs at least 1")
        layers = layer_parameters(self, self.num_layers)
        h_0, c_0 = self._initial_state(x, hx, is_batched)
        if not is_autocast_on(x.device):  # autocast converts by itself
            _check_types({"input": x, "h_0": h_0, "c_0": c_0}, layers[0][0].dtype)
        y, (h_n, c_n) = stack(
            FAMILY,
            x,
            (h_0, c_0),
            layers,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend,
        )
        if not is_batched:
            return y.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return y.transpose(0, 1) if self.batch_first else y, (h_n, c_n)

    def _initial_state(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None, is_batched: bool
    ) -> tuple[Tensor, Tensor]:
        """Return zeros, or the given state after a check: torch would broadcast it in silence."""
        shape = (self.num_layers, x.shape[1], self.hidden_size)
        if hx is None:
            zeros = torch.zeros(shape, device=x.device, dtype=x.dtype)
            return zeros, zeros
        if isinstance(hx, Tensor) or len(hx) != 2:
            raise ValueError("hx must be the pair (h_0, c_0)")
        expected = shape if is_batched else (shape[0], shape[2])
        for name, tensor in zip(("h_0", "c_0"), hx, strict=True):
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}; this layer and input need {expected}"
                )
        h_0, c_0 = hx
        return (h_0, c_0) if is_batched else (h_0.unsqueeze(1), c_0.unsqueeze(1))


def _check_types(tensors: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Refuse, as torch does, what would be rounded, or token ids taken for features."""
    for name, tensor in tensors.items():
        if tensor.dtype != dtype:
            raise ValueError(f"{name} is {tensor.dtype}, the layer {dtype}; convert one by .to()")
