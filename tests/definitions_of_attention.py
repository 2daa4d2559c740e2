"""Attention as its paper defines it, one query at a time, over the keys that it sees and no others.

Written apart from src/, to be held against it. torch differentiates it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from assertions import TOLERANCE, assert_near
from carousel.ops.attention import AttentionMask
from carousel.verify.op_spec import Case, OpSpec, Tensors
from hand_derived import by_hand, random


class Sizes(NamedTuple):
    """All different: a swapped axis cannot pass unseen."""

    B: int = 2
    N: int = 3
    K: int = 4
    M: int = 5


SIZES = Sizes()


class Trial(NamedTuple):
    """So many queries and keys, and who sees whom; the bias is random, -inf where it hides.

    Attributes:
        hides: Tells of batch, query and key whether the bias hides them; None: there is no bias.
        axes: Of B, N, T and S, those that the bias has; the others it repeats.
    """

    T: int
    S: int
    context: int | None = None
    first: tuple[int, ...] | None = None
    hides: Callable[[int, int, int], bool] | None = None
    axes: str = "BNTS"


def nothing(b: int, i: int, j: int) -> bool:
    return False


TRIALS = {
    "every key": Trial(6, 7),
    "one query": Trial(1, 7),
    "one key": Trial(6, 1),
    "causal": Trial(6, 6, 6),
    "a window": Trial(9, 9, 4),
    "itself alone": Trial(6, 6, 1),
    "a past": Trial(5, 8, 8),
    "a past and a window": Trial(5, 8, 3),
    "one new position": Trial(1, 8, 3),
    "more queries than keys": Trial(7, 4),
    "queries before the first key": Trial(7, 4, 3),
    "unwritten keys": Trial(5, 8, 4, (3, 0)),
    "some queries see nothing": Trial(6, 6, 3, (4, 1)),
    "one row sees nothing": Trial(5, 7, None, (7, 2)),
    "bias": Trial(5, 7, hides=nothing),
    "bias of a head": Trial(5, 7, hides=nothing, axes="N"),
    "bias of a query and a key": Trial(5, 7, hides=nothing, axes="TS"),
    "bias that pads": Trial(5, 7, hides=lambda b, i, j: j >= (4, 7)[b], axes="BS"),
    "bias that hides a row": Trial(5, 7, hides=lambda b, i, j: i == 2 or j == 3, axes="TS"),
    "bias that hides all of a row's first keys": Trial(5, 7, hides=lambda b, i, j: j < 2 * i + b),
    "all of it": Trial(5, 8, 4, (0, 5), lambda b, i, j: (b + i + j) % 3 == 0),
}


def case(
    trial: Trial, dtype: torch.dtype = torch.float64, sizes: Sizes = SIZES
) -> tuple[dict[str, Tensor], AttentionMask]:
    """Random queries, keys and values, and what the ops call sight."""
    b, n, k, m = sizes
    inputs = {
        "q": random(b, n, trial.T, k, seed=1, dtype=dtype),
        "k": random(b, n, trial.S, k, seed=2, dtype=dtype),
        "v": random(b, n, trial.S, m, seed=3, dtype=dtype),
    }
    first = None if trial.first is None else torch.tensor(trial.first)
    return inputs, AttentionMask(trial.context, first, bias(trial, sizes, dtype))


def attended(
    spec: OpSpec, sight: AttentionMask, keep: Tensor | None = None, block: int = 0
) -> Callable[..., Tensors]:
    """Run attention of q, k, v and, if it is there, of a bias, with its hand-derived reverse."""
    sizes = {"U": block} | ({} if sight.context is None else {"C": sight.context})
    fixed = {"first": sight.first, "bias": sight.bias, "keep": keep}
    constants = {name: x for name, x in fixed.items() if x is not None}

    def run(*tensors: Tensor) -> Tensors:
        inputs = dict(zip(("q", "k", "v", "b_scores"), tensors, strict=False))
        return by_hand(Case(spec, sizes, inputs, constants))

    return run


def enormous(trial: Trial, dtype: torch.dtype) -> tuple[dict[str, Tensor], AttentionMask]:
    """The same with scores about ±10⁴ and half of a whole number each, and so exact."""
    inputs, sight = case(trial)
    inputs |= {name: (2 * inputs[name]).round() for name in "qk"}
    own = {name: inputs[name].detach().to(dtype).requires_grad_() for name in "qkv"}
    signs = torch.arange(trial.T).remainder(2) * 2 - 1
    far = torch.zeros(trial.S).where(torch.arange(trial.S) % 3 > 0, -1e4)
    hiding = torch.zeros(()) if sight.bias is None else sight.bias.clamp(max=0).round()
    added = (1e4 * signs).unsqueeze(-1) + far + hiding
    return own, sight._replace(bias=added.to(dtype))


def bias(trial: Trial, sizes: Sizes, dtype: torch.dtype) -> Tensor | None:
    if trial.hides is None:
        return None
    lengths = {"B": sizes.B, "N": sizes.N, "T": trial.T, "S": trial.S}
    shape = [length if axis in trial.axes else 1 for axis, length in lengths.items()]
    drawn = random(*shape, seed=4, dtype=dtype).detach()
    for b, n, i, j in torch.cartesian_prod(*(torch.arange(length) for length in shape)).tolist():
        if trial.hides(b, i, j):
            drawn[b, n, i, j] = -math.inf
    return drawn


def sees(sight: AttentionMask, b: int, place: int, j: int) -> bool:
    """Whether a query that stands at a place sees key j, as far as the bias does not hide it."""
    in_window = sight.context is None or place - sight.context < j <= place
    return in_window and (sight.first is None or j >= int(sight.first[b]))


def visible(trial: Trial, sight: AttentionMask) -> Tensor:
    """Which keys each query sees, (B, 1 or N, T, S), key by key."""
    batch = SIZES.B
    seen = torch.tensor(
        [
            [
                [sees(sight, b, trial.S - trial.T + i, j) for j in range(trial.S)]
                for i in range(trial.T)
            ]
            for b in range(batch)
        ]
    ).unsqueeze(1)
    return seen if sight.bias is None else seen & (sight.bias > -math.inf)


def attention(q: Tensor, k: Tensor, v: Tensor, sight: AttentionMask) -> Tensor:
    """Vaswani et al. 2017, equation 1, for each query by itself."""
    batch, heads, queries, features = q.shape
    keys = k.shape[2]
    seen = visible(Trial(queries, keys), sight).expand(batch, heads, queries, keys)
    bias = q.new_zeros(1) if sight.bias is None else sight.bias
    bias = bias.expand(batch, heads, queries, keys)
    rows = []
    for b in range(batch):
        for n in range(heads):
            for i in range(queries):
                own = [j for j in range(keys) if seen[b, n, i, j]]
                scores = (k[b, n, own] * q[b, n, i]).sum(-1) / math.sqrt(features)
                e = torch.exp(scores + bias[b, n, i, own])
                mean = (e.unsqueeze(-1) * v[b, n, own]).sum(0) / e.sum() if own else 0
                rows.append(mean + v.new_zeros(v.shape[-1]))
    return torch.stack(rows).view(batch, heads, queries, -1)


def assert_same(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    """Compare by name; what must be 0, as the slope of a share of one, may be a rounding error."""
    bound = max(TOLERANCE[tensor.dtype] * tensor.norm().item() for tensor in want.values())
    nothing = {name for name, tensor in want.items() if tensor.norm() <= bound}
    assert {name for name, tensor in got.items() if tensor.norm() <= bound} == nothing
    assert_near(*({name: t for name, t in d.items() if name not in nothing} for d in (got, want)))
