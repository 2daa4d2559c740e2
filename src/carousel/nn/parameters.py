"""Parameters of recurrent layers: names, shapes, order and first values are torch.nn's.

What torch lacks stands after what it has, named alike. H units per layer, D input features,
P features of the output (H without projection), G = gates · H.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from carousel.ops.recurrence import Weights

# The op's name of each parameter that the time loop reads, where it is another one than the
# layer's; weight_ih, bias_ih and norm_ih belong to the projection of the input.
IN_THE_LOOP = {
    "weight_hh": "w_hh",
    "bias_hh": "b_hh",
    "weight_hr": "w_hr",
    "weight_ci": "w_ci",
    "weight_cf": "w_cf",
    "weight_co": "w_co",
    "norm_hh": "gain_hh",
    "norm_c": "gain_c",
    "norm_c_bias": "shift_c",
}


Device = torch.device | str | int | None


class Parameters(NamedTuple):
    """The parameters of one layer in one direction."""

    w_ih: Tensor  # (G, D)
    b_ih: Tensor | None  # (G,)
    gain: Tensor | None  # (G,): of layer normalisation
    weights: Weights  # of the time loop, by the op's names


def shapes(
    gates: int,
    input_size: int,
    hidden_size: int,
    *,
    bias: bool,
    proj_size: int = 0,
) -> dict[str, tuple[int, ...]]:
    """Return the parameters of one layer in one direction, in torch's order."""
    packed = gates * hidden_size
    named: dict[str, tuple[int, ...]] = {
        "weight_ih": (packed, input_size),
        "weight_hh": (packed, proj_size or hidden_size),
    }
    if bias:
        named |= {"bias_ih": (packed,), "bias_hh": (packed,)}
    if proj_size:
        named |= {"weight_hr": (proj_size, hidden_size)}
    return named


def suffixes(k: int, is_bidirectional: bool) -> tuple[str, ...]:
    """Return what follows a parameter's name in layer k, by direction."""
    return (f"_l{k}", f"_l{k}_reverse") if is_bidirectional else (f"_l{k}",)


def register(
    module: nn.Module,
    shapes: dict[str, tuple[int, ...]],
    suffix: str,
    *,
    device: Device,
    dtype: torch.dtype | None,
) -> None:
    """Make parameters of these shapes, not yet drawn."""
    for name, shape in shapes.items():
        parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        module.register_parameter(name + suffix, parameter)


def reset(module: nn.Module, hidden_size: int) -> None:
    """Draw every parameter from U(-1/√H, 1/√H), as torch.nn does, in its order.

    Layer normalisation starts as itself alone: gains 1, shift 0.
    """
    bound = 1 / math.sqrt(hidden_size) if hidden_size > 0 else 0.0
    for name, parameter in module.named_parameters():
        if name.startswith("norm_c_bias"):
            nn.init.zeros_(parameter)
        elif name.startswith("norm_"):
            nn.init.ones_(parameter)
        else:
            nn.init.uniform_(parameter, -bound, bound)


def collect(module: nn.Module, names: Iterable[str]) -> Parameters:
    """Read the parameters of one layer in one direction, given their full names.

    By attribute, not from named_parameters(): there a weight under weight_norm, or one handed in
    by torch.func.functional_call, is missing.
    """
    found = {name.partition("_l")[0]: getattr(module, name) for name in names}
    named = {name: tensor for name, tensor in found.items() if tensor is not None}
    return Parameters(
        w_ih=named.pop("weight_ih"),
        b_ih=named.pop("bias_ih", None),
        gain=named.pop("norm_ih", None),
        weights={IN_THE_LOOP.get(name, name): weight for name, weight in named.items()},
    )
