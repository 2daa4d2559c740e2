"""First values of the biases that let an LSTM or a GRU remember from the start.

A unit whose keeping gate (the LSTM's f, the GRU's z) stands at σ(b) remembers for
1/(1 - σ(b)) = 1 + eᵇ time steps. A gate adds both of its biases: the value stands in bias_ih, and
bias_hh is 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from carousel.nn.gru import GRU
from carousel.nn.lstm import LSTM


class Keeping(NamedTuple):
    """Where a layer's packed biases decide what is kept.

    Attributes:
        gate: Number of the gate.
        sign: 1 if the gate keeps, -1 if it takes in, and what it leaves is kept.
        taking: Number of the gate that takes in; None where it is the same one.
    """

    gate: int
    sign: int
    taking: int | None


@torch.no_grad()
def set_forget_bias(layer: GRU | LSTM, value: float) -> None:
    """Set both biases of every keeping gate so that their sum is a value; the others stay.

    Where the LSTM's gate is coupled, f = 1 - i, the input gate gets the value's negative: the same
    f.

    Source:
        Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015, for 1.

    Raises:
        ValueError: If the layer has no biases, or no gate that forgets.
    """
    keeping = _keeping(layer)
    for biases in _biases(layer):
        _set(layer, biases, keeping.gate, torch.tensor(keeping.sign * value))


@torch.no_grad()
def chrono(layer: GRU | LSTM, longest: int, generator: torch.Generator | None = None) -> None:
    """Let the units remember for times spread evenly from 2 to `longest` time steps.

    The keeping gate's bias is log u with u drawn from U(1, longest - 1) for each unit; the LSTM's
    input gate gets its negative.

    Args:
        layer: All its layers and directions are set.
        longest: The longest dependency expected, in time steps, at least 2.
        generator: Of the draws; None is torch's own.

    Source:
        Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", equation 16.

    Raises:
        ValueError: If the layer has no biases or no gate that forgets, or longest is below 2.
    """
    if longest < 2:
        raise ValueError(f"longest must be at least 2 time steps, got {longest}")
    keeping = _keeping(layer)
    for biases in _biases(layer):
        time = biases[0].new_empty(layer.hidden_size).uniform_(1, longest - 1, generator=generator)
        _set(layer, biases, keeping.gate, keeping.sign * time.log())
        if keeping.taking is not None:
            _set(layer, biases, keeping.taking, -time.log())


def _keeping(layer: GRU | LSTM) -> Keeping:
    if isinstance(layer, GRU):  # r, z, n: z keeps, 1 - z takes in
        return Keeping(1, 1, None)
    if not layer.forget_gate:
        raise ValueError("the layer has no forget gate (forget_gate=False)")
    return Keeping(0, -1, None) if layer.coupled else Keeping(1, 1, 0)  # i, g, o or i, f, g, o


def _set(layer: GRU | LSTM, biases: tuple[Tensor, Tensor], gate: int, value: Tensor) -> None:
    """Let the two biases of a gate, (H,) each, add up to a value."""
    b_ih, b_hh = (bias.view(-1, layer.hidden_size)[gate] for bias in biases)
    b_ih.copy_(value.expand_as(b_ih))
    b_hh.zero_()


def _biases(layer: GRU | LSTM) -> list[tuple[Tensor, Tensor]]:
    """Return (b_ih, b_hh) of every layer and direction."""
    if not layer.bias:
        raise ValueError("the layer has no biases (bias=False)")
    return [
        (getattr(layer, b_ih), getattr(layer, b_hh))
        for names in layer._all_weights
        for b_ih, b_hh in [[name for name in names if name.startswith("bias_")]]
    ]
