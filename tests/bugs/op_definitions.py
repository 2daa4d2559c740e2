"""The ops beside recurrence as their papers write them, number by number, and their namesakes.

Written apart from src/, to be held against it; torch differentiates both.
"""

import math
from collections.abc import Iterator

import torch
from op_given import Given, Tensors
from torch import Tensor
from torch.nn import functional as F


def sees(given: Given, b: int, i: int, j: int, queries: int, keys: int) -> bool:
    """Tell whether the i-th query of text b sees the j-th key."""
    place, (context, first, _) = keys - queries + i, given.sight
    if given.hidden is not None and given.hidden[i, j]:
        return False
    if first is not None and j < first[b]:
        return False
    return context is None or place - context < j <= place


def indices(*sizes: int) -> Iterator[tuple[int, ...]]:
    return iter(torch.cartesian_prod(*(torch.arange(n) for n in sizes)).tolist())


def by_softmax(scores: list[Tensor]) -> list[Tensor]:
    """e^s / Σ e^s, divided above and below by e to the largest s, without which e^s overflows."""
    largest = max(s.item() for s in scores)
    e = [(s - largest).exp() for s in scores]
    return [one / sum(e) for one in e]


def softmax(p: Tensors, given: Given) -> Tensors:
    rows = [torch.stack(by_softmax(list(row))) for row in p["s"].flatten(0, 1)]
    return {"p": torch.stack(rows).view_as(p["s"])}


def torch_softmax(p: Tensors, given: Given) -> Tensors:
    return {"p": F.softmax(p["s"], dim=-1)}


def cross_entropy(p: Tensors, given: Given) -> Tensors:
    rows = zip(p["logits"].flatten(0, 1), given.targets.flatten().tolist(), strict=True)
    losses = [-by_softmax(list(row))[target].log() for row, target in rows]
    return {"loss": torch.stack(losses).view(*given.targets.shape, 1)}


def torch_cross_entropy(p: Tensors, given: Given) -> Tensors:
    losses = F.cross_entropy(p["logits"].flatten(0, 1), given.targets.flatten(), reduction="none")
    return {"loss": losses.view(*given.targets.shape, 1)}


def layer_norm(p: Tensors, given: Given) -> Tensors:
    rows = []
    for row in p["x"].flatten(0, 1):
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        rows.append(p["gain"] * (row - mean) / torch.sqrt(variance + 1e-5) + p["shift"])
    return {"y": torch.stack(rows).view_as(p["x"])}


def torch_layer_norm(p: Tensors, given: Given) -> Tensors:
    return {"y": F.layer_norm(p["x"], p["x"].shape[-1:], p["gain"], p["shift"])}


def window(p: Tensors, given: Given) -> Tensors:
    """tanh of a bias and of each of the n tokens' vectors, each by the weights of its place."""
    texts, places = given.ids.shape
    n, features = p["w"].shape[1] // p["table"].shape[1], p["table"].shape[1]
    weights = p["w"].split(features, dim=1)  # by places, the oldest first
    rows = []
    for b, t in indices(texts, places - n + 1):
        a = p["b"]
        for k in range(n):
            token = int(given.ids[b, t + k])
            a = a if token < 0 else a + weights[k] @ p["table"][token]
        rows.append(a.tanh())
    return {"h": torch.stack(rows).view(texts, places - n + 1, -1)}


def from_ids(p: Tensors, given: Given) -> Tensors:
    """A bias, and the weights by the vector of the token that stands there, if there is one."""
    rows = []
    for b, t in indices(*given.ids.shape):
        token = int(given.ids[b, t])
        rows.append(p["b"] if token < 0 else p["b"] + p["w"] @ p["table"][token])
    return {"a": torch.stack(rows).view(*given.ids.shape, -1)}


def torch_from_ids(p: Tensors, given: Given) -> Tensors:
    """F.embedding with a row of zeros for id -1, and F.linear."""
    vocab_size = len(p["table"])
    table = F.pad(p["table"], (0, 0, 0, 1))
    x = F.embedding(given.ids % (vocab_size + 1), table, padding_idx=vocab_size)
    return {"a": F.linear(x, p["w"], p["b"])}


def torch_window(p: Tensors, given: Given) -> Tensors:
    """F.embedding with a row of zeros for id -1, and F.conv1d, whose filter is a window."""
    vocab_size, features = p["table"].shape
    table = F.pad(p["table"], (0, 0, 0, 1))
    x = F.embedding(given.ids % (vocab_size + 1), table, padding_idx=vocab_size)
    filters = p["w"].unflatten(1, (-1, features)).mT  # (H, D, n)
    return {"h": F.conv1d(x.mT, filters, p["b"]).mT.tanh()}


def angles(places: int, features: int) -> list[list[float]]:
    return [[t / 10_000 ** (2 * k / features) for k in range(features // 2)] for t in range(places)]


def sinusoidal(p: Tensors, given: Given) -> Tensors:
    """sin and cos of place / 10000^(2k/D), all sines before all cosines."""
    places, features = p["x"].shape
    rows = [[*map(math.sin, row), *map(math.cos, row)] for row in angles(places, features)]
    return {"y": p["x"] + torch.tensor(rows, dtype=torch.float64)}


def rotary(p: Tensors, given: Given) -> Tensors:
    """Each pair of features as one complex number, times e^(i·angle)."""
    turned = {}
    for name in ("q", "k"):
        *_, places, features = p[name].shape
        angle = torch.tensor(angles(places, features), dtype=torch.float64)
        turn = torch.polar(torch.ones_like(angle), angle)
        z = torch.complex(*p[name].chunk(2, dim=-1)) * turn
        turned[name] = torch.cat([z.real, z.imag], dim=-1)
    return turned | {"scores": (turned["q"] @ turned["k"].mT).tril()}


def attention(p: Tensors, given: Given) -> Tensors:
    (texts, heads, queries, features), keys = p["q"].shape, p["k"].shape[2]
    zero = torch.zeros((), dtype=torch.float64)
    outputs, shares = [], []
    for b, n, i in indices(texts, heads, queries):
        seen = [j for j in range(keys) if sees(given, b, i, j, queries, keys)]
        scores = [p["q"][b, n, i] @ p["k"][b, n, j] / math.sqrt(features) for j in seen]
        bias = p.get("bias", given.bias)
        if bias is not None:
            scores = [s + bias[n, i, j] for s, j in zip(scores, seen, strict=True)]
        weights = dict(zip(seen, by_softmax(scores) if seen else [], strict=True))
        if given.keep is not None:
            weights = {j: w * given.keep[b, n, i, j] for j, w in weights.items()}
        outputs.append(sum((w * p["v"][b, n, j] for j, w in weights.items()), 0 * p["v"][b, n, 0]))
        shares.append(torch.stack([weights.get(j, zero) for j in range(keys)]))
    lead = texts, heads, queries
    y, weights = torch.stack(outputs).view(*lead, -1), torch.stack(shares).view(*lead, -1)
    return {"y": y, "weights": weights}


def flash_attention(p: Tensors, given: Given) -> Tensors:
    return {"y": attention(p, given)["y"]}


def torch_attention(p: Tensors, given: Given) -> Tensors:
    (texts, heads, queries, _), keys = p["q"].shape, p["k"].shape[2]
    seen = [sees(given, b, i, j, queries, keys) for b, i, j in indices(texts, queries, keys)]
    visible = torch.tensor(seen).view(texts, 1, queries, keys)
    bias = p.get("bias", given.bias)
    bias = torch.zeros(heads, queries, keys).double() if bias is None else bias
    mask = bias.masked_fill(~visible, -math.inf)
    return {"y": F.scaled_dot_product_attention(p["q"], p["k"], p["v"], attn_mask=mask)}
