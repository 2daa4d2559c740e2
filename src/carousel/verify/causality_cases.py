"""The cases of the causality check: what each op and backbone must and must not depend on."""

import torch
from torch import Tensor

from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel
from carousel.verify.attention import visible
from carousel.verify.causality import Scene
from carousel.verify.models import draw_config, made
from carousel.verify.op_spec import OpSpec, Tensors, draw_case, forward
from carousel.verify.recurrences import STATE, RecurrentSpec


def recurrence(spec: RecurrentSpec, seed: int) -> Scene:
    """Return a time loop: it sees all that was, and the initial state."""
    case = draw_case(spec, seed)
    if spec.family.name == "rnn_relu":  # of what is negative it depends on nothing
        case = case._replace(inputs={name: x.abs() for name, x in case.inputs.items()})
    states = [name for name in STATE if name in case.inputs]
    steps, rows, _ = case.inputs["x"].shape

    def run(sources: Tensors) -> Tensor:
        inputs = {**case.inputs, "x": sources["x"], **{name: sources[name][0] for name in states}}
        return forward(case._replace(inputs=inputs))[0]["y"]

    state = {name: case.inputs[name].unsqueeze(0) for name in states}
    always = torch.ones(steps, 1, rows, dtype=torch.bool)
    return Scene(
        run,
        {"x": case.inputs["x"], **state},
        {"x": last(steps, steps, rows), **dict.fromkeys(state, always)},
    )


def attention(spec: OpSpec, seed: int) -> Scene:
    """Return queries, keys and values; each head of each sequence is a row."""
    case = draw_case(spec, seed)
    b, n, t = (case.sizes[letter] for letter in "BNT")

    def run(sources: Tensors) -> Tensor:
        heads = {
            name: x.transpose(0, 1).reshape(b, n, *x.shape[::2]) for name, x in sources.items()
        }
        return _placed(forward(case._replace(inputs=case.inputs | heads))[0]["y"])

    seen = visible(case).flatten(2)
    chosen = seen & (seen.sum(1, keepdim=True) > 1)  # what is seen alone is taken whole
    own = torch.eye(t, dtype=torch.bool).unsqueeze(-1) & chosen.any(1, keepdim=True)
    return Scene(
        run,
        {name: _placed(case.inputs[name]) for name in "qkv"},
        {"q": own, "k": chosen, "v": seen},
    )


def _placed(x: Tensor) -> Tensor:
    """Return x (B, N, T, ·) as (T, B·N, ·)."""
    return x.flatten(0, 1).transpose(0, 1)


def window(seed: int) -> Scene:
    """Return a body of the fixed window: it sees exactly n positions."""
    config = draw_config("mlp", seed)
    return _body(config, config.context, seed)


def transformer(seed: int) -> Scene:
    """Return a transformer's body: each layer sees exactly C positions."""
    config = draw_config("transformer", seed)
    return _body(config, config.num_layers * (config.context - 1) + 1, seed)


def _body(config: ModelConfig, reach: int, seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    model = made(SequenceModel(config, input_size=3, output_size=2, supervision="every"), generator)
    steps, rows = config.max_length or reach + 2, 2
    x = torch.randn(steps, rows, 3, generator=generator, dtype=torch.float64)

    def run(sources: Tensors) -> Tensor:
        y: Tensor = model(sources["x"].transpose(0, 1))[0]
        return y.transpose(0, 1)

    return Scene(run, {"x": x}, {"x": last(steps, reach, rows)})


def last(steps: int, context: int, rows: int) -> Tensor:
    """Return (T, T, R): each step sees so many, its own and those before it."""
    ages = torch.arange(steps).unsqueeze(-1) - torch.arange(steps)
    return ((ages >= 0) & (ages < context)).unsqueeze(-1).expand(-1, -1, rows)
