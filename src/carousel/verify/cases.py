"""What is verified: the families with their variants, and random inputs of any of them.

A shape is written in letters: T time steps, B sequences, D input features, H units, G = gates · H,
P features of the hidden state (H, unless it is projected).
"""

import random
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from carousel.ops import recurrence
from carousel.ops.gru import GRU, GRU_RESET_BEFORE
from carousel.ops.lstm import LSTM
from carousel.ops.lstm_layer_norm import LSTM_LAYER_NORM
from carousel.ops.lstm_three_gates import LSTM_1997, LSTM_COUPLED
from carousel.ops.recurrence import NO_MASKS, Dense, Family, Masks, Trace
from carousel.ops.rnn import RNN_RELU, RNN_TANH

Tensors = dict[str, Tensor]
SOURCE = ("x", "w_ih", "b_ih", "gain")
STATE = ("h_0", "c_0")


class Variant(NamedTuple):
    """A row of the table: a family, the tensors it takes, and the masks, each with its shape."""

    name: str
    family: Family
    inputs: Mapping[str, str]
    masks: Mapping[str, str]


class Case(NamedTuple):
    """A variant with all that it takes; gradients flow to the inputs, not to the masks."""

    variant: Variant
    inputs: Tensors
    masks: Masks


BASE = {"x": "TBD", "w_ih": "GD", "b_ih": "G", "w_hh": "GP", "b_hh": "G", "h_0": "BP"}
CELL = {"c_0": "BH"}
PEEPHOLES = {"w_ci": "H", "w_cf": "H", "w_co": "H"}
PROJECTION = {"w_hr": "PH"}
NORMS = {"gain": "G", "gain_hh": "G", "gain_c": "H", "shift_c": "H"}
HOLD_AND_H = {"hold_h": "TBP", "h": "BP"}
HOLD_C = {"hold_c": "TBH"}
CANDIDATE = {"candidate": "TBH"}


def _rows(
    name: str, family: Family, inputs: Mapping[str, str], masks: Mapping[str, str]
) -> list[Variant]:
    """Return the variant without masks, and with all that it has."""
    inputs = {**BASE, **inputs}
    return [
        Variant(name, family, inputs, {}),
        Variant(f"{name}, masked", family, inputs, {**HOLD_AND_H, **masks}),
    ]


VARIANTS = [
    *_rows("rnn tanh", RNN_TANH, {}, {}),
    *_rows("rnn relu", RNN_RELU, {}, {}),
    *_rows("gru", GRU, {}, {}),
    *_rows("gru reset before", GRU_RESET_BEFORE, {}, {}),
    *_rows("lstm", LSTM, CELL, HOLD_C | CANDIDATE),
    *_rows("lstm peephole", LSTM, CELL | PEEPHOLES, HOLD_C | CANDIDATE),
    *_rows("lstm projected", LSTM, CELL | PROJECTION, HOLD_C | CANDIDATE),
    *_rows("lstm peep. proj.", LSTM, CELL | PEEPHOLES | PROJECTION, HOLD_C | CANDIDATE),
    *_rows("lstm coupled", LSTM_COUPLED, CELL, HOLD_C),
    *_rows("lstm 1997", LSTM_1997, CELL, HOLD_C),
    *_rows("lstm layer norm", LSTM_LAYER_NORM, CELL | NORMS, HOLD_C),
]


def draw_sizes(variant: Variant, rng: random.Random, *, largest: int = 7) -> dict[str, int]:
    """Return sizes that all differ: a swapped axis cannot pass unseen. T > 1."""
    h = rng.randint(3, largest)  # two units, normalised, are ±1 whatever they were
    t, b, d, p = rng.sample([size for size in range(2, largest + 1) if size != h], 4)
    p = p if "w_hr" in variant.inputs else h
    return {"T": t, "B": b, "D": d, "H": h, "P": p, "G": variant.family.gates * h}


def draw_case(variant: Variant, seed: int, *, has_bias: bool = True) -> Case:
    """Draw every tensor: nothing is zero, since a bias left at zero hides a missing bias.

    Weights are drawn so that gates are neither open nor shut: there, every error has its effect.
    Masks are drawn between 0 and 1: what is linear in them, as all of it is, holds at both ends.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    sizes = draw_sizes(variant, rng)
    shapes = input_shapes(variant, sizes, has_bias=has_bias)
    inputs = {
        name: _normal(shape, 1.0 if name in ("x", *STATE) else 0.5, generator)
        for name, shape in shapes.items()
    }
    masks = {
        name: torch.rand(shape, generator=generator, dtype=torch.float64)
        for name, shape in _shapes(variant.masks, sizes).items()
    }
    return Case(variant, inputs, as_masks(masks))


def input_shapes(
    variant: Variant, sizes: dict[str, int], *, has_bias: bool = True
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input."""
    shapes = _shapes(variant.inputs, sizes)
    return {name: shape for name, shape in shapes.items() if has_bias or not name.startswith("b_")}


def mask_shapes(variant: Variant, sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each mask."""
    return _shapes(variant.masks, sizes)


def as_masks(masks: Tensors) -> Masks:
    """Return masks by name as the ops take them."""
    hold = (masks.get("hold_h"), masks.get("hold_c"))
    return Masks(hold, masks.get("h"), masks.get("candidate")) if masks else NO_MASKS


def draw_cotangents(outputs: Tensors, seed: int) -> Tensors:
    """Return a random weight for each entry of each output: the loss is the weighted sum."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(output.shape, generator=generator, dtype=output.dtype)
        for name, output in outputs.items()
    }


def forward(case: Case) -> tuple[Tensors, Trace]:
    """Run the op's time loop: return y and the last state by name, and the trace."""
    y, last, trace = recurrence.forward(case.variant.family, *_arguments(case.inputs), case.masks)
    return {"y": y, **dict(zip(("h_n", "c_n"), last, strict=False))}, trace


def backward(case: Case, cotangents: Tensors, trace: Trace) -> Tensors:
    """Run the op's reverse: return the gradient of the weighted sum, by the names of the inputs."""
    _, state, weights = _arguments(case.inputs)
    dstate = tuple(cotangents[name] for name in ("h_n", "c_n")[: len(state)])
    dsource, dstate, dweights = recurrence.backward(
        case.variant.family, cotangents["y"], dstate, trace, weights, case.masks
    )
    found = dict(zip(SOURCE, dsource, strict=True)) | dict(zip(STATE, dstate, strict=False))
    gradients = {name: d for name, d in found.items() if d is not None} | dweights
    return {name: gradients[name] for name in case.inputs}


def _arguments(inputs: Tensors) -> tuple[Dense, recurrence.State, recurrence.Weights]:
    source = Dense(*(inputs.get(name) for name in SOURCE))  # type: ignore[arg-type]
    state = tuple(inputs[name] for name in STATE if name in inputs)
    weights = {name: w for name, w in inputs.items() if name not in SOURCE + STATE}
    return source, state, weights


def _normal(shape: tuple[int, ...], deviation: float, generator: torch.Generator) -> Tensor:
    return deviation * torch.randn(shape, generator=generator, dtype=torch.float64)


def _shapes(letters: Mapping[str, str], sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sizes[letter] for letter in shape) for name, shape in letters.items()}
