"""The ops beside recurrence as their papers write them, number by number.

Written apart from the ops, to be held against them; torch differentiates both.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from carousel.verify.op_spec import Case, Tensors


def sees(case: Case, b: int, i: int, j: int) -> bool:
    """Tell whether the i-th query of text b sees the j-th key."""
    place, context = case.sizes["S"] - case.sizes["T"] + i, case.sizes.get("C")
    if "hidden" in case.constants and case.constants["hidden"][i, j]:
        return False
    if "first" in case.constants and j < case.constants["first"][b]:
        return False
    return context is None or place - context < j <= place


def indices(*sizes: int) -> Iterator[tuple[int, ...]]:
    return iter(torch.cartesian_prod(*(torch.arange(n) for n in sizes)).tolist())


def by_softmax(scores: list[Tensor]) -> list[Tensor]:
    """e^s / Σ e^s, divided above and below by e to the largest s, without which e^s overflows."""
    largest = max(s.item() for s in scores)
    e = [(s - largest).exp() for s in scores]
    return [one / sum(e) for one in e]


def softmax(case: Case) -> Tensors:
    scores = case.inputs["s"]
    rows = [torch.stack(by_softmax(list(row))) for row in scores.flatten(0, 1)]
    return {"p": torch.stack(rows).view_as(scores)}


def cross_entropy(case: Case) -> Tensors:
    targets = case.constants["targets"]
    rows = zip(case.inputs["logits"].flatten(0, 1), targets.flatten().tolist(), strict=True)
    losses = [-by_softmax(list(row))[target].log() for row, target in rows]
    return {"losses": torch.stack(losses).view_as(targets)}


def layer_norm(case: Case) -> Tensors:
    p, rows = case.inputs, []
    for row in p["x"].flatten(0, 1):
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        rows.append(p["gain"] * (row - mean) / torch.sqrt(variance + 1e-5) + p["shift"])
    return {"y": torch.stack(rows).view_as(p["x"])}


def window(case: Case) -> Tensors:
    """tanh of a bias and of each of the n tokens' vectors, each by the weights of its place."""
    p, ids = case.inputs, case.constants["ids"]
    texts, places = ids.shape
    n, features = p["w"].shape[1] // p["table"].shape[1], p["table"].shape[1]
    weights = p["w"].split(features, dim=1)  # by places, the oldest first
    rows = []
    for b, t in indices(texts, places - n + 1):
        a = p["b"]
        for k in range(n):
            token = int(ids[b, t + k])
            a = a if token < 0 else a + weights[k] @ p["table"][token]
        rows.append(a.tanh())
    return {"h": torch.stack(rows).view(texts, places - n + 1, -1)}


def from_ids(case: Case) -> Tensors:
    """A bias, and the weights by the vector of the token that stands there, if there is one."""
    p, ids, rows = case.inputs, case.constants["ids"], []
    for b, t in indices(*ids.shape):
        token = int(ids[b, t])
        rows.append(p["b"] if token < 0 else p["b"] + p["w"] @ p["table"][token])
    return {"a": torch.stack(rows).view(*ids.shape, -1)}


def angles(places: int, features: int) -> list[list[float]]:
    return [[t / 10_000 ** (2 * k / features) for k in range(features // 2)] for t in range(places)]


def sinusoidal(case: Case) -> Tensors:
    """sin and cos of place / 10000^(2k/D), all sines before all cosines."""
    x = case.inputs["x"]
    rows = [[*map(math.sin, row), *map(math.cos, row)] for row in angles(*x.shape)]
    return {"y": x + torch.tensor(rows, dtype=torch.float64)}


def rotary(case: Case) -> Tensors:
    """Each pair of features as one complex number, times e^(i·angle)."""
    p, turned = case.inputs, {}
    for name in ("q", "k"):
        *_, places, features = p[name].shape
        angle = torch.tensor(angles(places, features), dtype=torch.float64)
        turn = torch.polar(torch.ones_like(angle), angle)
        z = torch.complex(*p[name].chunk(2, dim=-1)) * turn
        turned[name] = torch.cat([z.real, z.imag], dim=-1)
    return turned | {"scores": (turned["q"] @ turned["k"].mT).tril()}


def attention(case: Case) -> Tensors:
    p, keep = case.inputs, case.constants.get("keep")
    bias = p.get("b_scores", case.constants.get("bias"))
    (texts, heads, queries, features), keys = p["q"].shape, p["k"].shape[2]
    zero = torch.zeros((), dtype=torch.float64)
    outputs, shares = [], []
    for b, n, i in indices(texts, heads, queries):
        seen = [j for j in range(keys) if sees(case, b, i, j)]
        scores = [p["q"][b, n, i] @ p["k"][b, n, j] / math.sqrt(features) for j in seen]
        if bias is not None:
            scores = [s + bias[b, n, i, j] for s, j in zip(scores, seen, strict=True)]
        weights = dict(zip(seen, by_softmax(scores) if seen else [], strict=True))
        if keep is not None:
            weights = {j: w * keep[b, n, i, j] for j, w in weights.items()}
        outputs.append(sum((w * p["v"][b, n, j] for j, w in weights.items()), 0 * p["v"][b, n, 0]))
        shares.append(torch.stack([weights.get(j, zero) for j in range(keys)]))
    lead = texts, heads, queries
    y, weights = torch.stack(outputs).view(*lead, -1), torch.stack(shares).view(*lead, -1)
    return {"y": y, "weights": weights}


def blocks(case: Case) -> Tensors:
    return {"y": attention(case)["y"]}
