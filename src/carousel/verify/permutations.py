"""Permutations: without positions, attention is of a set; with them, order has a meaning."""

import random

import torch
from torch import Tensor

from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.models import POSITIONS, made
from carousel.verify.op_spec import Letters, OpSpec, draw_case, forward

BOUND = 1e-12
NOTICED = 1e-6  # what a change of order must change at least


def equivariance(spec: OpSpec, outputs: Letters, seeds: range) -> CheckResult:
    """Return how far permuting queries and keys does other than permuting the outputs.

    `outputs`: their shapes in the letters of the spec; T are queries, S keys.
    """
    return worst(_equivariance(spec, outputs, seed) for seed in seeds)


def _equivariance(spec: OpSpec, outputs: Letters, seed: int) -> CheckResult:
    case, generator = draw_case(spec, seed), torch.Generator().manual_seed(seed)
    order = {letter: torch.randperm(case.sizes[letter], generator=generator) for letter in "TS"}
    moved = {name: _permuted(x, spec.data.get(name, ""), order) for name, x in case.inputs.items()}
    want = {name: _permuted(y, outputs[name], order) for name, y in forward(case)[0].items()}
    got, _ = forward(case._replace(inputs=moved))
    return distance(got, want, BOUND, f"seed {seed}, permuted")


def _permuted(x: Tensor, letters: str, order: dict[str, Tensor]) -> Tensor:
    for axis, letter in enumerate(letters):
        if letter in order:
            x = x.index_select(axis, order[letter])
    return x


def order(seeds: range) -> CheckResult:
    """Return how far a transformer of one layer is from seeing order exactly if it has positions.

    Its last output must be the same when what came before is permuted, if it has none; and
    another, if it has any.
    """
    return worst(_order(seed) for seed in seeds)


def _order(seed: int) -> CheckResult:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    positions, steps = POSITIONS[seed % len(POSITIONS)], rng.randint(3, 6)
    config = ModelConfig(
        model="transformer",
        embedding_size=8,
        hidden_size=7,
        context_length=steps,
        num_heads=2,
        positions=positions,
    )
    model = made(SequenceModel(config, input_size=3, output_size=2), generator)
    x = torch.randn(2, steps, 3, generator=generator, dtype=torch.float64)
    places = torch.roll(torch.arange(steps - 1), rng.randint(1, steps - 2))
    with torch.no_grad():
        y, moved = (model(x[:, [*taken, steps - 1]])[0] for taken in (range(steps - 1), places))
    figure = distance({"y": moved}, {"y": y}, BOUND, f"seed {seed}, {positions} positions")
    if positions == "none":
        return figure
    is_noticed = figure.reached is not None and figure.reached > NOTICED
    return figure._replace(reached=0.0 if is_noticed else 1.0, bound=0.0)
