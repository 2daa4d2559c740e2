"""The streaming law of the models: of a window of the past, and of recurrence from ids.

Whole = any split = one step at a time = saved and restored = any row = without a state, over
streams much longer than the window, from the beginning or in the middle: outputs, last states, and
the gradients of inputs, initial states and all parameters. Inputs are ids or features, in turn; of
a recurrence ids, more of them than there are tokens as a whole, and fewer step by step.
"""

import random
from collections.abc import Callable
from itertools import pairwise

import torch
from safetensors.torch import load, save
from torch import Tensor

from carousel.models.base import State
from carousel.models.config import ModelConfig
from carousel.models.language_model import CharacterModel
from carousel.models.sequence import SequenceModel
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.layers import randn
from carousel.verify.models import made
from carousel.verify.op_spec import Tensors
from carousel.verify.streaming import BOUND

Model = CharacterModel | SequenceModel


def streaming_models(draw: Callable[[int], ModelConfig], seeds: range) -> CheckResult:
    """Return the largest relative difference; for each seed a model, two splits and its rows."""
    return worst(_of_model(draw(seed), seed) for seed in seeds)


def _of_model(config: ModelConfig, seed: int) -> CheckResult:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    is_windowed = config.context > 0
    rows, context = rng.randint(2, 3), config.context if is_windowed else 2
    earlier, steps = rng.randint(0, 2 * context), 3 * context + rng.randint(2, 4)
    if config.max_length is not None:
        earlier, steps = 0, context
    model: Model
    if seed % 2 or not is_windowed:
        model = made(CharacterModel(config, vocab_size=5), generator)
        x = torch.randint(5, (rows, earlier + steps), generator=generator)
    else:
        model = made(
            SequenceModel(config, input_size=3, output_size=2, supervision="every"), generator
        )
        x = randn((rows, earlier + steps, 3), generator, torch.float64)
    with torch.no_grad():
        state = model(x[:, :earlier])[1] if earlier else model.initial_state(rows)
        y, last = model(x)
    from_nothing = named(y[:, earlier:], last)
    x, state = _leaf(x[:, earlier:]), tuple(map(_leaf, state))
    cuts = sorted(rng.sample(range(1, steps), rng.randint(1, steps - 1))) if steps > 1 else []
    ways = {
        f"cut at {cuts}": in_pieces(model, x, state, cuts),
        "step by step": in_pieces(model, x, state, list(range(1, steps))),
        "row by row": row_by_row(model, x, state),
    }
    whole = with_gradients(named(*model(x, state)), model, x, state, seed)
    figures = [
        distance(
            with_gradients(outputs, model, x, state, seed), whole, BOUND, f"seed {seed}, {way}"
        )
        for way, outputs in ways.items()
    ]
    outputs = {name: y.double() for name, y in from_nothing.items()}
    itself = {name: whole[name] for name in outputs}
    return worst([*figures, distance(outputs, itself, BOUND, f"seed {seed}, without a state")])


def _leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_(x.is_floating_point())


def named(y: Tensor, state: State) -> Tensors:
    """Return outputs and the parts of a state by name."""
    return {"y": y, **{f"state {k}": part for k, part in enumerate(state)}}


def in_pieces(model: Model, x: Tensor, state: State, cuts: list[int]) -> Tensors:
    """Run piece after piece; the state goes through the bytes of safetensors, gradients too."""
    parts = []
    for start, end in pairwise((0, *cuts, x.shape[1])):
        y, state = model(x[:, start:end], restored(state))
        parts.append(y)
    return named(torch.cat(parts, dim=1), state)


def restored(state: State) -> State:
    """Return a state that was saved and read again; autograd goes on to what was saved."""
    read = load(save({str(k): part.detach().contiguous() for k, part in enumerate(state)}))
    return tuple(part + (read[str(k)] - part.detach()) for k, part in enumerate(state))


def row_by_row(model: Model, x: Tensor, state: State) -> Tensors:
    """Run each sequence of the batch alone."""
    rows = []
    for b in range(len(x)):
        own = tuple(part[:, b : b + 1] for part in state)
        rows.append(model(x[b : b + 1], own))
    states = zip(*(last for _, last in rows), strict=True)
    return named(torch.cat([y for y, _ in rows]), tuple(torch.cat(s, dim=1) for s in states))


def with_gradients(outputs: Tensors, model: Model, x: Tensor, state: State, seed: int) -> Tensors:
    """Return the outputs, and every gradient of a random weighted sum of them."""
    generator = torch.Generator().manual_seed(seed)
    moving = {name: y for name, y in outputs.items() if y.requires_grad}
    weights = [randn(y.shape, generator, y.dtype) for y in moving.values()]
    every = {"x": x, **{f"initial {k}": part for k, part in enumerate(state)}}
    every = {name: leaf for name, leaf in every.items() if leaf.requires_grad}
    every |= dict(model.named_parameters())
    gradients = torch.autograd.grad(
        list(moving.values()), list(every.values()), weights, materialize_grads=True
    )
    outputs = {name: y.detach().double() for name, y in outputs.items()}
    return outputs | {f"d{name}": d for name, d in zip(every, gradients, strict=True)}
