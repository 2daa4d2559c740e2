"""Attention in blocks against the definition of attention, computed with fifty digits.

Over a field it cannot run: that blocks can be put together rests on e^(a+b) = e^a e^b, which a
random function does not know. So the definition stands here once more, in plain loops over
mpmath's numbers. Its derivative is a central difference: with a step of 1e-15 what is left out is
of the order of 1e-30, and float64 has 16 digits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from mpmath import exp, mp, mpf, sqrt
from torch import Tensor

from carousel.verify.attention import sight
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Tensors,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)

BOUND = 1e-12
DIGITS = 50
STEP = 1e-15

Rows = list[list[mpf]]


class Head(NamedTuple):
    """One head of one sequence: q (T, K), k (S, K), v (S, M), and what is added to its scores."""

    q: Rows
    k: Rows
    v: Rows
    bias: list[list[float]]  # (T, S); -inf hides


def in_high_precision(spec: OpSpec, seeds: range) -> CheckResult:
    """Return the largest relative error of y or a gradient, its cases the entries of gradients."""
    return worst(_one(draw_case(spec, seed), seed) for seed in seeds)


def _one(case: Case, seed: int) -> CheckResult:
    outputs, trace = forward(case)
    cotangents = draw_cotangents(outputs, seed)
    got = outputs | backward(case, cotangents, trace)
    with mp.workdps(DIGITS):
        want = by_definition(case, cotangents["y"])
    figure = distance(got, want, BOUND, f"seed {seed}")
    return figure._replace(cases=sum(x.numel() for x in case.inputs.values()))


def by_definition(case: Case, dy: Tensor) -> Tensors:
    """Return y, and the gradients of q, k and v, rounded to float64."""
    found = [_of_head(*one) for one in _heads(case, dy)]
    heads = {name: torch.stack([head[name] for head in found]) for name in found[0]}
    return {name: x.view(*dy.shape[:2], *x.shape[1:]) for name, x in heads.items()}


def _heads(case: Case, dy: Tensor) -> Iterator[tuple[Head, list[list[float]]]]:
    context, first, added = sight(case)
    for b in range(case.sizes["B"]):
        for n in range(case.sizes["N"]):
            q, k, v = (
                [[mpf(x) for x in row] for row in case.inputs[name][b, n].tolist()]
                for name in "qkv"
            )
            earliest = 0 if first is None else int(first[b])
            bias = [
                [
                    (0.0 if added is None else added[b, n, i, j].item())
                    if _sees(i + len(k) - len(q), j, context, earliest)
                    else -math.inf
                    for j in range(len(k))
                ]
                for i in range(len(q))
            ]
            yield Head(q, k, v, bias), dy[b, n].tolist()


def _sees(place: int, j: int, context: int | None, earliest: int) -> bool:
    return context is None or (place - context < j <= place and j >= earliest)


def _of_head(head: Head, dy: list[list[float]]) -> Tensors:
    def loss() -> mpf:
        return sum(_dot(dy_i, y_i) for dy_i, y_i in zip(dy, attended(head), strict=True))

    y = attended(head)
    gradients = {name: _slopes(getattr(head, name), loss) for name in "qkv"}
    return {
        name: torch.tensor([[float(x) for x in row] for row in rows], dtype=torch.float64)
        for name, rows in {"y": y, **gradients}.items()
    }


def attended(head: Head) -> Rows:
    """Return y (T, M): each query's average of the values that it sees; of none, zeros."""
    return [_average(head, q_i, bias_i) for q_i, bias_i in zip(head.q, head.bias, strict=True)]


def _average(head: Head, q_i: list[mpf], bias_i: list[float]) -> list[mpf]:
    seen = [j for j, bias in enumerate(bias_i) if bias > -math.inf]
    scores = [_dot(q_i, head.k[j]) / sqrt(len(q_i)) + bias_i[j] for j in seen]
    shares = [exp(score) for score in scores]
    total = sum(shares) if seen else mpf(1)
    return [_dot(shares, [head.v[j][m] for j in seen]) / total for m in range(len(head.v[0]))]


def _dot(a: Sequence[mpf | float], b: list[mpf]) -> mpf:
    return sum((x * y for x, y in zip(a, b, strict=True)), mpf(0))


def _slopes(rows: Rows, loss: Callable[[], mpf]) -> Rows:
    """Return the derivative of the loss by each entry, which is moved in place and put back."""
    step = mpf(STEP)
    slopes: Rows = []
    for row in rows:
        slopes.append([])
        for m, x in enumerate(row):
            row[m] = x + step
            above = loss()
            row[m] = x - step
            below = loss()
            row[m] = x
            slopes[-1].append((above - below) / (2 * step))
    return slopes
