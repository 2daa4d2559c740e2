"""torch.nn: the recurrent layers against their namesakes, in everything that both of them take.

Outputs, last states, the gradients of the input, of the initial state and of every parameter; all
random, the sizes all different. What is masked is here a batch of sequences of different lengths.
"""

import random
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import carousel
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.layers import (
    Layer,
    make,
    named_state,
    randn,
    randomise,
    with_gradients,
)
from carousel.verify.op_spec import Tensors

BOUNDS = {torch.float64: 1e-12, torch.float32: 5e-6}


class Configuration(NamedTuple):
    """Constructor arguments and inputs of a layer.

    Attributes:
        sizes: T, B, D, H and P, the last for layers that project.
        num_layers: How many are stacked.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are (B, T, ·).
        bidirectional: Whether a second recurrence reads from the end.
        lengths: Of the sequences of a packed batch; None: all are T.
        is_batched: Else the input is one sequence, (T, D).
        has_state: Whether an initial state is given; else it is zero.
        seed: Of all that is drawn.
    """

    sizes: tuple[int, int, int, int, int]
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    bidirectional: bool = False
    lengths: tuple[int, ...] | None = None
    is_batched: bool = True
    has_state: bool = True
    seed: int = 0


def torch_nn(layer: Layer, is_packed: bool, dtype: torch.dtype, seeds: range) -> CheckResult:
    """Return the largest relative difference of a tensor, of a random configuration per seed."""
    return worst(compare(layer, draw_configuration(seed, is_packed), dtype) for seed in seeds)


def draw_configuration(seed: int, is_packed: bool) -> Configuration:
    """Return a random configuration; one sequence alone, or no state, one time in eight.

    The sizes all differ. A tensor of a few entries may vanish by cancellation, and with it all
    digits of single precision, torch's as ours: from 3 features on it does not happen.
    """
    rng = random.Random(seed)
    d, *features = rng.sample(range(3, 10), 3)
    p, h = sorted(features)
    t, b = rng.sample([size for size in range(1, 10) if size not in (d, p, h)], 2)
    flip = [rng.random() < 0.5 for _ in range(3)]
    return Configuration(
        sizes=(t, b, d, h, p),
        num_layers=rng.randint(1, 3),
        bias=flip[0],
        batch_first=flip[1],
        bidirectional=flip[2],
        lengths=tuple(rng.randint(1, t) for _ in range(b)) if is_packed else None,
        is_batched=is_packed or rng.random() < 0.875,
        has_state=rng.random() < 0.875,
        seed=seed,
    )


def compare(layer: Layer, chosen: Configuration, dtype: torch.dtype) -> CheckResult:
    """Return the largest relative difference of ours from torch's, of all tensors."""
    torch.default_generator.manual_seed(chosen.seed)  # what constructors draw, and we overwrite
    _, _, d, h, p = chosen.sizes
    if "proj_size" in layer.options:
        layer = layer._replace(options=layer.options | {"proj_size": p})
    options: dict[str, Any] = {
        "num_layers": chosen.num_layers,
        "bias": chosen.bias,
        "batch_first": chosen.batch_first,
        "bidirectional": chosen.bidirectional,
    }
    theirs = make(nn, layer, d, h, dtype=dtype, **options)
    ours = make(carousel, layer, d, h, dtype=dtype, **options)
    generator = torch.Generator().manual_seed(chosen.seed)
    randomise(theirs, generator)
    ours.load_state_dict(theirs.state_dict())
    inputs = draw_inputs(layer, chosen, generator, dtype)
    got, want = (
        with_gradients(
            call(module, inputs, chosen),
            inputs | dict(module.named_parameters()),
            torch.Generator().manual_seed(chosen.seed),
        )
        for module in (ours, theirs)
    )
    return distance(got, want, BOUNDS[dtype], str(chosen))


def draw_inputs(
    layer: Layer, chosen: Configuration, generator: torch.Generator, dtype: torch.dtype
) -> Tensors:
    """Draw the input and, where one is given, the initial state."""
    t, b, d, h, p = chosen.sizes
    batch = (b,) if chosen.is_batched else ()
    states = chosen.num_layers * (2 if chosen.bidirectional else 1)
    first = (b, t) if chosen.batch_first else (t, b)
    shapes: dict[str, tuple[int, ...]] = {"x": (*(first if chosen.is_batched else (t,)), d)}
    if chosen.has_state:
        shapes["h_0"] = (states, *batch, p if "proj_size" in layer.options else h)
        if layer.has_cell:
            shapes["c_0"] = (states, *batch, h)
    return {name: randn(s, generator, dtype).requires_grad_() for name, s in shapes.items()}


def call(module: nn.Module, inputs: Tensors, chosen: Configuration) -> Tensors:
    """Run a layer; return its outputs and last states by name."""
    state = tuple(inputs[name] for name in ("h_0", "c_0") if name in inputs)
    hx = None if not state else state if len(state) > 1 else state[0]
    x: Tensor | PackedSequence = inputs["x"]
    if chosen.lengths is not None:
        x = pack_padded_sequence(
            inputs["x"], torch.tensor(chosen.lengths), chosen.batch_first, enforce_sorted=False
        )
    y, last = module(x, hx)
    return {"y": y.data if isinstance(y, PackedSequence) else y, **named_state(last, "n")}
