"""The ops beside recurrence, all of them, as cases."""

from collections.abc import Callable
from typing import Any

import op_definitions
import torch
from attention_cases import ATTENTION
from op_case import Case, Code, Pieces, Sizes, by_hand
from op_given import Given, Tensors

# softmax and cross-entropy


def softmax(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    shares = code["softmax"].softmax(p["s"])
    return {"p": shares}, shares


def softmax_backward(code: Code, d: Tensors, shares: Any, given: Given) -> Tensors:
    return {"s": code["softmax"].softmax_backward(d["p"], shares)}


def cross_entropy(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    losses, shares = code["cross_entropy"].forward(p["logits"], given.targets)
    return {"loss": losses.unsqueeze(-1)}, shares


def cross_entropy_backward(code: Code, d: Tensors, shares: Any, given: Given) -> Tensors:
    dlosses = d["loss"].squeeze(-1)
    return {"logits": code["cross_entropy"].backward(dlosses, shares, given.targets)}


def targets(sizes: Sizes) -> Given:
    drawn = torch.arange(sizes.B * sizes.T) * 5 % sizes.V
    return Given(targets=drawn.view(sizes.B, sizes.T))


# layer norm


def layer_norm(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    y, unit, scale = code["layer_norm"].forward(p["x"], p["gain"], p["shift"])
    return {"y": y}, (unit, scale, p["gain"])


def layer_norm_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    gradients = code["layer_norm"].backward(d["y"], *trace)
    return dict(zip(("x", "gain", "shift"), gradients, strict=True))


# the fixed window: embedding, windows, tanh layer


def window(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    op, n = code["mlp"], p["w"].shape[1] // p["table"].shape[1]
    x = op.windows(op.embed(given.ids, p["table"]), n)
    h = op.layer(x, p["w"], p["b"])
    return {"h": h}, (h, x, p["w"], n, len(p["table"]))


def window_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    op, (h, x, w, n, vocab_size) = code["mlp"], trace
    dwindows, dw, db = op.layer_backward(d["h"], h, x, w)
    dx = op.windows_backward(dwindows, n)
    return {"table": op.embed_backward(dx, given.ids, vocab_size), "w": dw, "b": db}


def ids(sizes: Sizes) -> Given:
    """No token before the beginning, and some of them twice."""
    drawn = torch.arange(sizes.B * (sizes.n - 1 + sizes.T)) * 4 % (sizes.V - 1)
    drawn = drawn.view(sizes.B, -1)
    drawn[0, : sizes.n - 1] = -1
    return Given(ids=drawn)


def window_depends(p: Tensors, given: Given) -> Tensors:
    """On the rows of the tokens that stand in the window, and on no others."""
    n = p["w"].shape[1] // p["table"].shape[1]
    inside = given.ids.unfold(1, n, 1)  # (B, T, n)
    rows = torch.arange(len(p["table"]))
    return {"table": (inside.unsqueeze(-1) == rows).any(-2)}


def window_in_pieces(case: Case, code: Code, p: Tensors, given: Given, pieces: Pieces) -> Tensors:
    """The state is the last n - 1 ids."""
    n = p["w"].shape[1] // p["table"].shape[1]
    parts = [given._replace(ids=given.ids[:, start : n - 1 + end]) for start, end in pieces]
    return {"h": torch.cat([by_hand(code, case, p, part)["h"] for part in parts], dim=1)}


# a table of projections: what a language model's first layer reads


def from_ids(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    tokens = code["recurrence"].DenseInput(p["table"], p["w"], p["b"])
    a = code["embedding"].look_up(given.ids + 1, code["recurrence"].project_embedding(tokens))
    return {"a": a}, tokens


def from_ids_backward(code: Code, d: Tensors, tokens: Any, given: Given) -> Tensors:
    dprojected = code["embedding"].look_up_backward(d["a"], given.ids + 1, len(tokens.x) + 1)
    dtokens = code["recurrence"].project_embedding_backward(dprojected, tokens)
    return dict(zip(("table", "w", "b"), dtokens, strict=False))


def ids_alone(sizes: Sizes) -> Given:
    return Given(ids=ids(sizes).ids[:, : sizes.T])


def from_ids_depends(p: Tensors, given: Given) -> Tensors:
    """On the row of the token that stands there."""
    return {"table": given.ids.unsqueeze(-1) == torch.arange(len(p["table"]))}


def from_ids_in_pieces(case: Case, code: Code, p: Tensors, given: Given, pieces: Pieces) -> Tensors:
    """There is no state."""
    parts = [given._replace(ids=given.ids[:, start:end]) for start, end in pieces]
    return {"a": torch.cat([by_hand(code, case, p, part)["a"] for part in parts], dim=1)}


# positions


def sinusoidal(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    places, features = p["x"].shape
    drawn = code["positions"].sinusoidal(torch.arange(places), features, p["x"].dtype)
    return {"y": p["x"] + drawn}, None


def sinusoidal_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    return {"x": d["y"]}


def rotary(code: Code, p: Tensors, given: Given, start: int = 0) -> tuple[Tensors, Any]:
    """Queries and keys turned by their places, and the products of each query with its past."""
    op = code["positions"]
    places = torch.arange(start, start + p["q"].shape[2])
    cos, sin = op.rotations(places, p["q"].shape[3], p["q"].dtype)
    q, k = op.rotate(p["q"], cos, sin), op.rotate(p["k"], cos, sin)
    return {"q": q, "k": k, "scores": (q @ k.mT).tril()}, (q, k, cos, sin)


def rotary_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    q, k, cos, sin = trace
    dscores = d["scores"].tril()
    dq, dk = d["q"] + dscores @ k, d["k"] + dscores.mT @ q
    return {name: code["positions"].rotate(d, cos, -sin) for name, d in (("q", dq), ("k", dk))}


def rotary_elsewhere(case: Case, code: Code, p: Tensors, given: Given, pieces: Pieces) -> Tensors:
    """Products depend on differences of places: they are the same wherever the text begins."""
    start = 7 * len(pieces)
    moved = case._replace(forward=lambda code, p, given: rotary(code, p, given, start))
    return {"scores": by_hand(code, moved, p, given)["scores"]}


def row_by_row(*names: str) -> Callable[[Tensors, Given], Tensors]:
    """Each vector depends on the vectors in its own place, and on no others."""

    def depends(p: Tensors, given: Given) -> Tensors:
        lead = p[names[0]].shape[:-1]
        return {name: torch.eye(lead.numel()).bool().view(*lead, *lead) for name in names}

    return depends


def nothing(sizes: Sizes) -> Given:
    return Given()


CASES = {
    "softmax": Case(
        "softmax",
        {"s": "BTV"},
        softmax,
        softmax_backward,
        op_definitions.softmax,
        op_definitions.torch_softmax,
        nothing,
        row_by_row("s"),
        far=800.0,
    ),
    "cross_entropy": Case(
        "cross_entropy",
        {"logits": "BTV"},
        cross_entropy,
        cross_entropy_backward,
        op_definitions.cross_entropy,
        op_definitions.torch_cross_entropy,
        targets,
        row_by_row("logits"),
        far=800.0,
    ),
    "layer_norm": Case(
        "layer_norm",
        {"x": "BTD", "gain": "D", "shift": "D"},
        layer_norm,
        layer_norm_backward,
        op_definitions.layer_norm,
        op_definitions.torch_layer_norm,
        nothing,
        row_by_row("x"),
    ),
    "window": Case(
        "mlp",
        {"table": "VD", "w": "HW", "b": "H"},
        window,
        window_backward,
        op_definitions.window,
        op_definitions.torch_window,
        ids,
        window_depends,
        window_in_pieces,
    ),
    "from_ids": Case(
        "embedding",
        {"table": "VD", "w": "HD", "b": "H"},
        from_ids,
        from_ids_backward,
        op_definitions.from_ids,
        op_definitions.torch_from_ids,
        ids_alone,
        from_ids_depends,
        from_ids_in_pieces,
    ),
    "sinusoidal": Case(
        "positions",
        {"x": "TD"},
        sinusoidal,
        sinusoidal_backward,
        op_definitions.sinusoidal,
        None,
        nothing,
        row_by_row("x"),
    ),
    "rotary": Case(
        "positions",
        {"q": "BNTK", "k": "BNTK"},
        rotary,
        rotary_backward,
        op_definitions.rotary,
        None,
        nothing,
        row_by_row("q"),
        rotary_elsewhere,
    ),
} | ATTENTION
