"""The OpSpecs of the ops beside recurrence, attention and positions.

Letters: B sequences, T positions, D features of a position, V tokens, H units; O positions of a
window, W = O - 1 + T, X = O · D.
"""

import random
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from carousel.ops.recurrence import DenseInput
from carousel.verify.op_spec import Case, Index, OpSpec, Sizes, Tensors


def draw_sizes(letters: str, rng: random.Random) -> Sizes:
    """Return sizes from 3 to 7 that all differ."""
    return dict(zip(letters, rng.sample(range(3, 8), len(letters)), strict=True))


def _softmax(case: Case) -> tuple[Tensors, Tensor]:
    p = case.ops["softmax"].softmax(case.inputs["s"])
    return {"p": p}, p


def _softmax_backward(case: Case, cotangents: Tensors, p: Tensor) -> Tensors:
    return {"s": case.ops["softmax"].softmax_backward(cotangents["p"], p)}


def _softmax_by_torch(case: Case) -> Tensors:
    return {"p": F.softmax(case.inputs["s"], -1)}


SOFTMAX = OpSpec(
    name="softmax",
    module="softmax",
    sizes=partial(draw_sizes, "BTV"),
    data={"s": "BTV"},
    weights={},
    forward=_softmax,
    backward=_softmax_backward,
    reference=_softmax_by_torch,
)


def _cross_entropy(case: Case) -> tuple[Tensors, Tensor]:
    op, targets = case.ops["cross_entropy"], case.constants["targets"]
    losses, p = op.forward(case.inputs["logits"], targets)
    return {"losses": losses}, p


def _cross_entropy_backward(case: Case, cotangents: Tensors, p: Tensor) -> Tensors:
    op, targets = case.ops["cross_entropy"], case.constants["targets"]
    return {"logits": op.backward(cotangents["losses"], p, targets)}


def _cross_entropy_by_torch(case: Case) -> Tensors:
    logits = case.inputs["logits"].movedim(-1, 1)  # where torch has the classes
    return {"losses": F.cross_entropy(logits, case.constants["targets"], reduction="none")}


CROSS_ENTROPY = OpSpec(
    name="cross-entropy",
    module="cross_entropy",
    sizes=partial(draw_sizes, "BTV"),
    data={"logits": "BTV"},
    weights={},
    constants={"targets": Index("BT", 0, "V")},
    forward=_cross_entropy,
    backward=_cross_entropy_backward,
    reference=_cross_entropy_by_torch,
)


def _layer_norm_sizes(rng: random.Random) -> Sizes:
    """Return sizes of vectors of some length: of three numbers, normalised, one alone is free."""
    d, b, t = rng.choice([6, 7, 8]), *rng.sample(range(2, 6), 2)
    return {"B": b, "T": t, "D": d}


def _layer_norm(case: Case) -> tuple[Tensors, tuple[Tensor, Tensor]]:
    x, gain, shift = (case.inputs[name] for name in ("x", "gain", "shift"))
    y, unit, scale = case.ops["layer_norm"].forward(x, gain, shift)
    return {"y": y}, (unit, scale)


def _layer_norm_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, Tensor]) -> Tensors:
    op = case.ops["layer_norm"]
    found = op.backward(cotangents["y"], *trace, case.inputs["gain"])
    return dict(zip(("x", "gain", "shift"), found, strict=True))


def _layer_norm_by_torch(case: Case) -> Tensors:
    x, gain, shift = (case.inputs[name] for name in ("x", "gain", "shift"))
    return {"y": F.layer_norm(x, gain.shape, gain, shift)}


LAYER_NORM = OpSpec(
    name="layer norm",
    module="layer_norm",
    sizes=_layer_norm_sizes,
    data={"x": "BTD"},
    weights={"gain": "D", "shift": "D"},
    forward=_layer_norm,
    backward=_layer_norm_backward,
    reference=_layer_norm_by_torch,
)


def _embedding(case: Case) -> tuple[Tensors, None]:
    return {"x": case.ops["mlp"].embed(case.constants["ids"], case.inputs["table"])}, None


def _embedding_backward(case: Case, cotangents: Tensors, trace: None) -> Tensors:
    op, ids = case.ops["mlp"], case.constants["ids"]
    table = op.embed_backward(cotangents["x"], ids, case.sizes["V"])
    return {"table": table}


def _embedding_by_torch(case: Case) -> Tensors:
    """Look up in a table whose row for -1, no token at all, is torch's row of padding."""
    table = F.pad(case.inputs["table"], (0, 0, 1, 0))
    return {"x": F.embedding(case.constants["ids"] + 1, table, padding_idx=0)}


EMBEDDING = OpSpec(
    name="embedding",
    module="mlp",
    sizes=partial(draw_sizes, "BTVD"),
    data={},
    weights={"table": "VD"},
    constants={"ids": Index("BT", -1, "V")},  # -1 is no token at all
    forward=_embedding,
    backward=_embedding_backward,
    reference=_embedding_by_torch,
)


def _mlp_sizes(rng: random.Random) -> Sizes:
    sizes = draw_sizes("BTDHO", rng)
    return sizes | {"W": sizes["O"] - 1 + sizes["T"], "X": sizes["O"] * sizes["D"]}


def _mlp(case: Case) -> tuple[Tensors, tuple[Tensor, Tensor]]:
    op = case.ops["mlp"]
    seen = op.windows(case.inputs["x"], case.sizes["O"])
    h = op.layer(seen, case.inputs["w"], case.inputs["b"])
    return {"h": h}, (h, seen)


def _mlp_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, Tensor]) -> Tensors:
    op = case.ops["mlp"]
    dseen, dw, db = op.layer_backward(cotangents["h"], *trace, case.inputs["w"])
    return {"x": op.windows_backward(dseen, case.sizes["O"]), "w": dw, "b": db}


def _convolution_by_torch(case: Case) -> Tensors:
    """Run the fixed window as a convolution over time."""
    x, w, b = (case.inputs[name] for name in "xwb")
    kernel = w.view(len(w), -1, x.shape[-1]).mT  # (H, D, O)
    return {"h": F.conv1d(x.mT, kernel, b).mT.tanh()}


MLP = OpSpec(
    name="mlp",
    module="mlp",
    sizes=_mlp_sizes,
    data={"x": "BWD"},
    weights={"w": "HX", "b": "H"},
    forward=_mlp,
    backward=_mlp_backward,
    reference=_convolution_by_torch,
)


def _of_vectors(case: Case, x: Tensor) -> Case:
    """Return the case of the fixed window on vectors, in the place of that on ids."""
    return case._replace(inputs={**case.inputs, "x": x})


def _window(case: Case) -> tuple[Tensors, tuple[Tensor, Any]]:
    x = _embedding(case)[0]["x"]
    outputs, trace = _mlp(_of_vectors(case, x))
    return outputs, (x, trace)


def _window_backward(case: Case, cotangents: Tensors, trace: tuple[Tensor, Any]) -> Tensors:
    x, of_mlp = trace
    found = _mlp_backward(_of_vectors(case, x), cotangents, of_mlp)
    return found | _embedding_backward(case, {"x": found["x"]}, None)


def _window_by_torch(case: Case) -> Tensors:
    return _convolution_by_torch(_of_vectors(case, _embedding_by_torch(case)["x"]))


def _window_sizes(rng: random.Random) -> Sizes:
    sizes = _mlp_sizes(rng)
    return sizes | {"V": rng.choice([size for size in range(3, 9) if size not in sizes.values()])}


WINDOW = OpSpec(
    name="window",
    module="mlp",
    sizes=_window_sizes,
    data={},
    weights={"table": "VD", "w": "HX", "b": "H"},
    constants={"ids": Index("BW", -1, "V")},
    forward=_window,
    backward=_window_backward,
    reference=_window_by_torch,
)


def _from_ids(case: Case) -> tuple[Tensors, DenseInput]:
    op, ids = case.ops["recurrence"], case.constants["ids"]
    tokens = op.DenseInput(*(case.inputs[name] for name in ("table", "w", "b")))
    return {"a": case.ops["embedding"].look_up(ids + 1, op.project_embedding(tokens))}, tokens


def _from_ids_backward(case: Case, cotangents: Tensors, tokens: DenseInput) -> Tensors:
    ids, size = case.constants["ids"], case.sizes["V"] + 1
    dprojected = case.ops["embedding"].look_up_backward(cotangents["a"], ids + 1, size)
    dtokens = case.ops["recurrence"].project_embedding_backward(dprojected, tokens)
    return dict(zip(("table", "w", "b"), dtokens, strict=False))


def _from_ids_by_torch(case: Case) -> Tensors:
    x = _embedding_by_torch(case)["x"]
    return {"a": F.linear(x, case.inputs["w"], case.inputs["b"])}


FROM_IDS = OpSpec(
    name="projected embedding",
    module="embedding",
    sizes=partial(draw_sizes, "BTVDH"),
    data={},
    weights={"table": "VD", "w": "HD", "b": "H"},
    constants={"ids": Index("BT", -1, "V")},
    forward=_from_ids,
    backward=_from_ids_backward,
    reference=_from_ids_by_torch,
)


FUNCTIONS = {
    "softmax": SOFTMAX,
    "cross_entropy": CROSS_ENTROPY,
    "layer_norm": LAYER_NORM,
    "embedding": EMBEDDING,
    "mlp": MLP,
    "window": WINDOW,
    "from_ids": FROM_IDS,
}
