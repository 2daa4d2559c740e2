"""The ops that are no recurrence, as subjects: those of the fixed window and of attention.

Letters: B sequences, T positions or queries, S keys, N heads, K features of a head, M of a value,
D features of a position, V tokens, H units; O positions of a window, W = O - 1 + T, X = O · D,
R = K / 2; C positions that a query sees, F before which a key is the first, U of a block.
"""

import random
from functools import partial

import torch
from torch import Tensor

from carousel.ops import attention, cross_entropy, flash_attention, layer_norm, mlp
from carousel.ops.attention import AttentionMask
from carousel.ops.positions import rotate
from carousel.ops.softmax import softmax, softmax_backward
from carousel.verify.cases import Case, Index, Sizes, Subject, Tensors


def draw_sizes(letters: str, rng: random.Random) -> Sizes:
    """Return sizes from 3 to 7 that all differ."""
    return dict(zip(letters, rng.sample(range(3, 8), len(letters)), strict=True))


def _softmax(case: Case) -> tuple[Tensors, Tensor]:
    p = softmax(case.inputs["s"])
    return {"p": p}, p


def _softmax_backward(case: Case, cotangents: Tensors, p: Tensor) -> Tensors:
    return {"s": softmax_backward(cotangents["p"], p)}


SOFTMAX = Subject(
    "softmax",
    sizes=partial(draw_sizes, "BTV"),
    data={"s": "BTV"},
    weights={},
    forward=_softmax,
    backward=_softmax_backward,
)


def _cross_entropy(case: Case) -> tuple[Tensors, Tensor]:
    losses, p = cross_entropy.forward(case.inputs["logits"], case.constants["targets"])
    return {"losses": losses}, p


def _cross_entropy_backward(case: Case, cotangents: Tensors, p: Tensor) -> Tensors:
    return {"logits": cross_entropy.backward(cotangents["losses"], p, case.constants["targets"])}


CROSS_ENTROPY = Subject(
    "cross-entropy",
    sizes=partial(draw_sizes, "BTV"),
    data={"logits": "BTV"},
    weights={},
    indices={"targets": Index("BT", 0, "V")},
    forward=_cross_entropy,
    backward=_cross_entropy_backward,
)


def _layer_norm_sizes(rng: random.Random) -> Sizes:
    """Return sizes of vectors of some length: of three numbers, normalised, one alone is free."""
    d, b, t = rng.choice([6, 7, 8]), *rng.sample(range(2, 6), 2)
    return {"B": b, "T": t, "D": d}


def _layer_norm(case: Case) -> tuple[Tensors, tuple[Tensor, Tensor]]:
    x, gain, shift = (case.inputs[name] for name in ("x", "gain", "shift"))
    y, unit, scale = layer_norm.forward(x, gain, shift)
    return {"y": y}, (unit, scale)


def _layer_norm_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, Tensor]) -> Tensors:
    found = layer_norm.backward(cotangents["y"], *trace, case.inputs["gain"])
    return dict(zip(("x", "gain", "shift"), found, strict=True))


LAYER_NORM = Subject(
    "layer norm",
    sizes=_layer_norm_sizes,
    data={"x": "BTD"},
    weights={"gain": "D", "shift": "D"},
    forward=_layer_norm,
    backward=_layer_norm_backward,
)


def _embedding(case: Case) -> tuple[Tensors, None]:
    return {"x": mlp.embed(case.constants["ids"], case.inputs["table"])}, None


def _embedding_backward(case: Case, cotangents: Tensors, trace: None) -> Tensors:
    table = mlp.embed_backward(cotangents["x"], case.constants["ids"], case.sizes["V"])
    return {"table": table}


EMBEDDING = Subject(
    "embedding",
    sizes=partial(draw_sizes, "BTVD"),
    data={},
    weights={"table": "VD"},
    indices={"ids": Index("BT", -1, "V")},  # -1 is no token at all
    forward=_embedding,
    backward=_embedding_backward,
)


def _mlp_sizes(rng: random.Random) -> Sizes:
    sizes = draw_sizes("BTDHO", rng)
    return sizes | {"W": sizes["O"] - 1 + sizes["T"], "X": sizes["O"] * sizes["D"]}


def _mlp(case: Case) -> tuple[Tensors, tuple[Tensor, Tensor]]:
    seen = mlp.windows(case.inputs["x"], case.sizes["O"])
    h = mlp.layer(seen, case.inputs["w"], case.inputs["b"])
    return {"h": h}, (h, seen)


def _mlp_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, Tensor]) -> Tensors:
    dseen, dw, db = mlp.layer_backward(cotangents["h"], *trace, case.inputs["w"])
    return {"x": mlp.windows_backward(dseen, case.sizes["O"]), "w": dw, "b": db}


MLP = Subject(
    "mlp",
    sizes=_mlp_sizes,
    data={"x": "BWD"},
    weights={"w": "HX", "b": "H"},
    forward=_mlp,
    backward=_mlp_backward,
)


def _rotary_sizes(rng: random.Random) -> Sizes:
    b, n, t, r = rng.sample(range(1, 6), 4)
    return {"B": b, "N": n, "T": t, "R": r, "K": 2 * r}


def _rotary(case: Case) -> tuple[Tensors, None]:
    return {"y": rotate(case.inputs["x"], case.constants["cos"], case.constants["sin"])}, None


def _rotary_backward(case: Case, cotangents: Tensors, trace: None) -> Tensors:
    return {"x": rotate(cotangents["y"], case.constants["cos"], -case.constants["sin"])}


ROTARY = Subject(
    "rotary",
    sizes=_rotary_sizes,
    data={"x": "BNTK"},
    weights={},
    constants={"cos": "TR", "sin": "TR"},  # turn or not, the reverse is the transpose
    forward=_rotary,
    backward=_rotary_backward,
)


def _attention_sizes(heads: int, rng: random.Random) -> Sizes:
    """Return sizes that all differ, B and N among the smallest so many; more keys than queries.

    Who sees one key alone takes it whole: the last query sees two, or q had no gradient at all.
    """
    b, n = rng.sample(range(1, heads + 1), 2)
    t, s = sorted(rng.sample([size for size in range(2, 7) if size not in (b, n)], 2))
    k, m = rng.sample([size for size in range(1, 7) if size not in (b, n, t, s)], 2)
    sizes = {"B": b, "N": n, "T": t, "S": s, "K": k, "M": m}
    return sizes | {"C": rng.choice((2, 3, s)), "F": rng.randint(1, s - 1), "U": rng.randint(1, 3)}


def sight(case: Case) -> AttentionMask:
    """Return who sees whom: all, or a window of the keys that are written; and what is added."""
    context = case.sizes["C"] if "first" in case.constants else None
    return AttentionMask(context, case.constants.get("first"), case.inputs.get("b_scores"))


def _attention(case: Case) -> tuple[Tensors, attention.Saved]:
    q, k, v = (case.inputs[name] for name in "qkv")
    y, weights, trace = attention.forward(q, k, v, sight(case), case.constants.get("keep"))
    return {"y": y, "weights": weights}, trace


def _attention_backward(case: Case, cotangents: Tensors, trace: attention.Saved) -> Tensors:
    found = attention.backward(cotangents["y"], trace, cotangents["weights"])
    return dict(zip(("q", "k", "v", "b_scores"), found, strict=True))


ATTENTION = Subject(
    "attention",
    sizes=partial(_attention_sizes, 4),
    data={"q": "BNTK", "k": "BNSK", "v": "BNSM", "b_scores": "BNTS"},
    weights={},
    forward=_attention,
    backward=_attention_backward,
)
ATTENTION_MASKED = ATTENTION._replace(
    name="attention, masked",
    constants={"keep": "BNTS"},
    indices={"first": Index("B", 0, "F")},
)


ATTENDED = {"y": "BNTM", "weights": "BNTS"}


def sight_of_blocks(case: Case) -> AttentionMask:
    """Return who sees whom; a bias that is a constant hides one pair in five."""
    if "bias" not in case.constants:
        return sight(case)
    bias = case.constants["bias"]
    hidden = bias < 0.2
    hidden[..., -2:] = False
    return sight(case)._replace(bias=bias.masked_fill(hidden, float("-inf")))


def visible(case: Case) -> Tensor:
    """Return which keys a query may take from, (T, S, B, N), written out place by place."""
    b, n, t, s = (case.sizes[letter] for letter in "BNTS")
    seen = torch.ones(t, s, b, n, dtype=torch.bool)
    if "first" in case.constants:
        places = torch.arange(s)
        ages = (places[-t:].unsqueeze(-1) - places)[..., None, None]  # of keys, to a query
        is_written = places[:, None, None] >= case.constants["first"].unsqueeze(-1)  # (S, B, 1)
        seen &= (ages >= 0) & (ages < case.sizes["C"]) & is_written
    bias = sight_of_blocks(case).bias
    return seen if bias is None else seen & (bias.permute(2, 3, 0, 1) > float("-inf"))


def _blocks(case: Case) -> tuple[Tensors, flash_attention.Saved]:
    q, k, v = (case.inputs[name] for name in "qkv")
    y, trace = flash_attention.forward(q, k, v, sight_of_blocks(case), block=case.sizes["U"])
    return {"y": y}, trace


def _blocks_backward(case: Case, cotangents: Tensors, trace: flash_attention.Saved) -> Tensors:
    found = flash_attention.backward(cotangents["y"], trace, block=case.sizes["U"])
    return dict(zip("qkv", found, strict=True))


BLOCKS = Subject(
    "attention blocks",
    sizes=partial(_attention_sizes, 3),
    data={"q": "BNTK", "k": "BNSK", "v": "BNSM"},
    weights={},
    forward=_blocks,
    backward=_blocks_backward,
)
BLOCKS_MASKED = BLOCKS._replace(
    name="attention blocks, masked",
    constants={"bias": "BNTS"},
    indices={"first": Index("B", 0, "F")},
)
