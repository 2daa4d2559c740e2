"""First values of the biases that let an LSTM or a GRU remember from the start.

A unit whose keeping gate (the LSTM's f, the GRU's z) stands at σ(b) remembers for
1/(1 - σ(b)) = 1 + eᵇ time steps. A gate adds both of its biases: the value stands in bias_ih, and
bias_hh is 0.
"""

import torch
from torch import Tensor

from carousel.nn.recurrent_layer import KeepGate, RecurrentLayer


@torch.no_grad()
def set_forget_bias(layer: RecurrentLayer, value: float) -> None:
    """Set both biases of every keeping gate so that their sum is a value; the others stay.

    Where the LSTM's gate is coupled, f = 1 - i, the input gate gets the value's negative: the same
    f.

    Source:
        Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015, for 1.

    Raises:
        ValueError: If the layer has no biases, or no gate that forgets.
    """
    keep = _keep_gate(layer)
    for biases in _biases(layer):
        _set(layer, biases, keep.gate, torch.tensor(keep.sign * value))


@torch.no_grad()
def chrono(layer: RecurrentLayer, longest: int, generator: torch.Generator | None = None) -> None:
    """Set gate biases so that units remember for times spread evenly from 2 to `longest` steps.

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
    keep = _keep_gate(layer)
    for biases in _biases(layer):
        time = biases[0].new_empty(layer.hidden_size).uniform_(1, longest - 1, generator=generator)
        _set(layer, biases, keep.gate, keep.sign * time.log())
        if keep.input_gate is not None:
            _set(layer, biases, keep.input_gate, -time.log())


def _keep_gate(layer: RecurrentLayer) -> KeepGate:
    if layer.keep_gate is None:
        raise ValueError("the layer has no forget gate (forget_gate=False)")
    return layer.keep_gate


def _set(layer: RecurrentLayer, biases: tuple[Tensor, ...], gate: int, value: Tensor) -> None:
    """Set the two biases of a gate, (H,) each, so that they add up to a value."""
    b_ih, *others = (bias.view(-1, layer.hidden_size)[gate] for bias in biases)
    b_ih.copy_(value.expand_as(b_ih))
    for bias in others:
        bias.zero_()


def _biases(layer: RecurrentLayer) -> list[tuple[Tensor, ...]]:
    """Return the biases of every layer and direction: b_ih, and b_hh where there is one."""
    if not layer.bias:
        raise ValueError("the layer has no biases (bias=False)")
    return [
        tuple(getattr(layer, name) for name in names if name.startswith("bias_"))
        for names in layer._all_weights
    ]
