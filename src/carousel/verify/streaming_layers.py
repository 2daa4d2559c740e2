"""The streaming law of the recurrent layers, stacked: whole = any split = steps = any row.

What stands here beside `streaming.py`: states of several layers, handed on by the user; autograd
through the pieces; zoneout, which out of training keeps a part of the old state.
"""

import random
from itertools import pairwise
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import carousel
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.layers import Layer, make, named_state, randn, randomise, with_gradients
from carousel.verify.op_spec import Tensors
from carousel.verify.streaming import BOUND


def streaming_layers(layer: Layer, zoneout: float, seeds: range) -> CheckResult:
    """Return the largest relative difference; for each seed a shape, a split, and all its rows."""
    return worst(_of_shape(layer, zoneout, seed) for seed in seeds)


def _of_shape(kind: Layer, zoneout: float, seed: int) -> CheckResult:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    layer, inputs = _draw(kind, zoneout, rng, generator)
    every = inputs | dict(layer.named_parameters())
    steps, rows, _ = inputs["x"].shape
    cuts = sorted(rng.sample(range(1, steps), rng.randint(1, steps - 1)))
    ways = {
        "whole": call(layer, inputs),
        f"seed {seed}, layers, cut at {cuts}": in_pieces(layer, inputs, cuts),
        f"seed {seed}, layers, step by step": in_pieces(layer, inputs, list(range(1, steps))),
        f"seed {seed}, layers, row by row": row_by_row(layer, inputs, rows),
    }
    found = {
        way: with_gradients(y, every, torch.Generator().manual_seed(seed))
        for way, y in ways.items()
    }
    whole = found.pop("whole")
    return worst(distance(got, whole, BOUND, way) for way, got in found.items())


def _draw(
    layer: Layer, zoneout: float, rng: random.Random, generator: torch.Generator
) -> tuple[nn.Module, Tensors]:
    """Make a layer out of training, and its input and initial state, (T, B, D) and (L, B, ·)."""
    t, b, d, h = rng.sample(range(2, 8), 4)
    h, num_layers = h + 1, rng.randint(1, 3)
    options: dict[str, Any] = {"num_layers": num_layers, "bias": rng.random() < 0.7}
    if layer.has_cell:
        options["zoneout"] = zoneout
    made = make(carousel, layer, d, h, dtype=torch.float64, **options).eval()
    randomise(made, generator)
    shapes = {"x": (t, b, d), "h_0": (num_layers, b, layer.options.get("proj_size", h))}
    if layer.has_cell:
        shapes["c_0"] = (num_layers, b, h)
    inputs = {name: randn(s, generator, torch.float64) for name, s in shapes.items()}
    return made, {name: x.requires_grad_() for name, x in inputs.items()}


def call(layer: nn.Module, inputs: Tensors) -> Tensors:
    """Run a layer; return its outputs and last states by name."""
    state = tuple(inputs[name] for name in ("h_0", "c_0") if name in inputs)
    y, last = layer(inputs["x"], state if len(state) > 1 else state[0])
    return {"y": y, **named_state(last, "n")}


def in_pieces(layer: nn.Module, inputs: Tensors, cuts: list[int]) -> Tensors:
    """Run piece after piece; the state goes through the bytes of safetensors, gradients too."""
    y, state = [], {name: x for name, x in inputs.items() if name != "x"}
    for start, end in pairwise((0, *cuts, len(inputs["x"]))):
        outputs = call(layer, {"x": inputs["x"][start:end], **_restored(state)})
        y.append(outputs.pop("y"))
        state = {name.replace("_n", "_0"): part for name, part in outputs.items()}
    return {"y": torch.cat(y), **outputs}


def _restored(state: Tensors) -> Tensors:
    """Return a state that was saved and read again; autograd goes on to what was saved."""
    read = load(save({name: x.detach().contiguous() for name, x in state.items()}))
    return {name: x + (read[name] - x.detach()) for name, x in state.items()}


def row_by_row(layer: nn.Module, inputs: Tensors, rows: int) -> Tensors:
    """Run each sequence of the batch alone."""
    alone: list[Tensors] = []
    for b in range(rows):
        alone.append(call(layer, {name: _row(x, b) for name, x in inputs.items()}))
    return {name: torch.cat([row[name] for row in alone], dim=1) for name in alone[0]}


def _row(x: Tensor, b: int) -> Tensor:
    return x[:, b : b + 1]
