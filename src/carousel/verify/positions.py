"""The OpSpecs of positions; and that the product of a query and a key, turned, knows no place.

It depends on how far apart they are, alone. That lets a cache of keys slide: which position is
called 0 has no meaning. Letters: B sequences, N heads, T positions, K features of a head,
R = K / 2; P ends the positions.
"""

import random

import torch
from torch import Tensor

from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.op_spec import OPS, Case, Index, OpSpec, Sizes, Tensors
from carousel.verify.streaming import BOUND

FARTHEST = 1000  # positions; an angle's digits are lost as they grow


def _rotary_sizes(rng: random.Random) -> Sizes:
    b, n, t, r = rng.sample(range(1, 6), 4)
    return {"B": b, "N": n, "T": t, "R": r, "K": 2 * r, "P": 1000}


def _rotary(case: Case) -> tuple[Tensors, None]:
    cos, sin = case.constants["cos"], case.constants["sin"]
    return {"y": case.ops["positions"].rotate(case.inputs["x"], cos, sin)}, None


def _rotary_backward(case: Case, cotangents: Tensors, trace: None) -> Tensors:
    cos, sin = case.constants["cos"], case.constants["sin"]
    return {"x": case.ops["positions"].rotate(cotangents["y"], cos, -sin)}


ROTARY = OpSpec(
    name="rotary",
    module="positions",
    sizes=_rotary_sizes,
    data={"x": "BNTK"},
    weights={},
    constants={"cos": "TR", "sin": "TR"},  # rotated or not, the backward pass is the transpose
    forward=_rotary,
    backward=_rotary_backward,
)


def _turned(case: Case) -> tuple[Tensors, tuple[Tensor, ...]]:
    op, q, k = case.ops["positions"], case.inputs["q"], case.inputs["k"]
    cos, sin = op.rotations(case.constants["positions"], q.shape[-1], q.dtype)
    q, k = op.rotate(q, cos, sin), op.rotate(k, cos, sin)
    return {"q": q, "k": k, "scores": (q @ k.mT).tril()}, (q, k, cos, sin)


def _turned_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, ...]) -> Tensors:
    q, k, cos, sin = trace
    dscores = cotangents["scores"].tril()
    arriving = {"q": cotangents["q"] + dscores @ k, "k": cotangents["k"] + dscores.mT @ q}
    op = case.ops["positions"]
    return {name: op.rotate(d, cos, -sin) for name, d in arriving.items()}


ROTARY_SCORES = OpSpec(
    name="rotary scores",
    module="positions",
    sizes=_rotary_sizes,
    data={"q": "BNTK", "k": "BNTK"},
    weights={},
    constants={"positions": Index("T", 0, "P")},
    forward=_turned,
    backward=_turned_backward,
)


def _sinusoidal(case: Case) -> tuple[Tensors, None]:
    x, positions = case.inputs["x"], case.constants["positions"]
    return {"y": x + case.ops["positions"].sinusoidal(positions, x.shape[-1], x.dtype)}, None


def _sinusoidal_backward(case: Case, cotangents: Tensors, trace: None) -> Tensors:
    return {"x": cotangents["y"]}


SINUSOIDAL = OpSpec(
    name="sinusoidal",
    module="positions",
    sizes=_rotary_sizes,
    data={"x": "TK"},
    weights={},
    constants={"positions": Index("T", 0, "P")},
    forward=_sinusoidal,
    backward=_sinusoidal_backward,
)

POSITIONS = {"rotary": ROTARY, "rotary_scores": ROTARY_SCORES, "sinusoidal": SINUSOIDAL}


def relative(seeds: range) -> CheckResult:
    """Return how much products differ when all positions move on."""
    return worst(_one(seed) for seed in seeds)


def _one(seed: int) -> CheckResult:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    steps, features = rng.randint(2, 7), 2 * rng.randint(1, 4)
    q, k = torch.randn(2, 3, steps, features, generator=generator, dtype=torch.float64)

    def products(first: int) -> Tensor:
        op, places = OPS["positions"], torch.arange(first, first + steps)
        cos, sin = op.rotations(places, features, torch.float64)
        turned: Tensor = op.rotate(q, cos, sin) @ op.rotate(k, cos, sin).mT
        return turned

    moved = rng.randint(1, FARTHEST)
    want, got = products(0), products(moved)
    return distance({"products": got}, {"products": want}, BOUND, f"seed {seed}, moved by {moved}")
