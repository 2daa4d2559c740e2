"""Layers and bodies as subjects: their gradients are composed of the ops' by autograd.

Letters: B sequences, T positions or queries, S keys, N heads of K features, E and D features of a
position, Z = 3E or 3D, V tokens, H units; L layers of a transformer, C positions that it sees; O
positions of a window; I is 1.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from carousel.models.transformer import TransformerBackbone
from carousel.nn.attention import attention_with_weights
from carousel.nn.cross_entropy import cross_entropy
from carousel.nn.embedding import Embedding
from carousel.nn.mlp import FixedWindow
from carousel.nn.multihead_attention import MultiheadAttention
from carousel.nn.normalization import LayerNorm
from carousel.verify.attention import ATTENTION, ATTENTION_MASKED, sight
from carousel.verify.functions import CROSS_ENTROPY, EMBEDDING, LAYER_NORM, MLP
from carousel.verify.op_spec import Case, Index, Letters, OpSpec, Sizes, Tensors

Run = Callable[[Case], Tensors]


def of_layer(spec: OpSpec, run: Run) -> OpSpec:
    """Return a spec that runs a layer, differentiated as a user would."""
    return replace(spec, forward=partial(_forward, run), backward=partial(_backward, run))


def _forward(run: Run, case: Case) -> tuple[Tensors, None]:
    return run(case), None


def _backward(run: Run, case: Case, cotangents: Tensors, trace: None) -> Tensors:
    inputs = {name: x.detach().requires_grad_() for name, x in case.inputs.items()}
    outputs = run(case._replace(inputs=inputs))
    gradients = torch.autograd.grad(
        list(outputs.values()), list(inputs.values()), list(cotangents.values())
    )
    return dict(zip(inputs, gradients, strict=True))


@cache
def blank(kind: Callable[..., nn.Module], *arguments: Any) -> nn.Module:
    """Return a module without numbers in it."""
    with torch.device("meta"):
        return kind(*arguments)


def call(module: nn.Module, weights: Tensors, *args: Any, **kwargs: Any) -> Any:
    """Call a module with weights of another's choice, all of them."""
    return functional_call(module, weights, args, kwargs, strict=True)


def _cross_entropy(case: Case) -> Tensors:
    return {"losses": cross_entropy(case.inputs["logits"], case.constants["targets"])}


def _layer_norm(case: Case) -> Tensors:
    weights = {"weight": case.inputs["gain"], "bias": case.inputs["shift"]}
    layer = blank(LayerNorm, case.sizes["D"])
    return {"y": call(layer, weights, case.inputs["x"])}


def _embedding(case: Case) -> Tensors:
    layer = blank(Embedding, case.sizes["V"], case.sizes["D"])
    return {"x": call(layer, {"weight": case.inputs["table"]}, case.constants["ids"])}


def _window(case: Case) -> Tensors:
    weights = {"weight": case.inputs["w"], "bias": case.inputs["b"]}
    layer = blank(FixedWindow, case.sizes["D"], case.sizes["H"], case.sizes["O"])
    return {"h": call(layer, weights, case.inputs["x"])}


def _attention(case: Case) -> Tensors:
    q, k, v = (case.inputs[name] for name in "qkv")
    y, _ = attention_with_weights(q, k, v, sight(case))
    return {"y": y}


CROSS_ENTROPY_LAYER = of_layer(CROSS_ENTROPY, _cross_entropy)
LAYER_NORM_LAYER = of_layer(LAYER_NORM, _layer_norm)
EMBEDDING_LAYER = of_layer(EMBEDDING, _embedding)
WINDOW_LAYER = of_layer(MLP, _window)
ATTENTION_LAYER = of_layer(ATTENTION, _attention)
ATTENTION_MASKED_LAYER = of_layer(
    replace(ATTENTION_MASKED, constants={"first": ATTENTION_MASKED.constants["first"]}), _attention
)


def _multi_head_sizes(rng: random.Random) -> Sizes:
    n, k = rng.sample(range(2, 4), 2)
    b, t, s = rng.sample([size for size in range(2, 9) if size not in (n, k, n * k)], 3)
    return {"B": b, "T": t, "S": s, "N": n, "E": n * k, "Z": 3 * n * k, "F": s - 1}


def masks(case: Case) -> dict[str, Any]:
    """Return what hides keys from queries: all but the last two of them may be hidden."""
    if not case.constants:
        return {"need_weights": True}
    added, first = case.constants["added"], case.constants["first"]
    hidden = added < 0.2
    hidden[:, -2:] = False
    padded = torch.arange(case.sizes["S"]) < first.unsqueeze(-1)  # (B, S)
    nothing = torch.zeros_like(padded, dtype=added.dtype)
    return {
        "need_weights": False,
        "attn_mask": added.masked_fill(hidden, float("-inf")),
        "key_padding_mask": nothing.masked_fill(padded, float("-inf")),
    }


def multi_head(kind: Callable[..., nn.Module], case: Case) -> Tensors:
    """Run a multi-head attention of one kind, ours or torch's."""
    weights = {name: case.inputs[name] for name in MULTI_HEAD_WEIGHTS}
    layer = blank(kind, case.sizes["E"], case.sizes["N"])
    q, k, v = (case.inputs[name] for name in ("query", "key", "value"))
    y, shares = call(layer, weights, q, k, v, **masks(case))
    return {"y": y} if shares is None else {"y": y, "weights": shares}


MULTI_HEAD_WEIGHTS = {
    "in_proj_weight": "ZE",
    "in_proj_bias": "Z",
    "out_proj.weight": "EE",
    "out_proj.bias": "E",
}
_OURS = partial(multi_head, MultiheadAttention)
MULTI_HEAD = OpSpec(
    name="multi-head",
    sizes=_multi_head_sizes,
    data={"query": "TBE", "key": "SBE", "value": "SBE"},
    weights=MULTI_HEAD_WEIGHTS,
    forward=partial(_forward, _OURS),
    backward=partial(_backward, _OURS),
    reference=partial(multi_head, nn.MultiheadAttention),
)
ATTENDED = {"y": "TBE", "weights": "BTS"}
MULTI_HEAD_MASKED = replace(
    MULTI_HEAD,
    name="multi-head, masked",
    constants={"added": "TS", "first": Index("B", 0, "F")},
)

LAYERS = 2
BLOCK = {
    "attention_norm.weight": "D",
    "attention_norm.bias": "D",
    "attention.in_proj.weight": "ZD",
    "attention.in_proj.bias": "Z",
    "attention.out_proj.weight": "DD",
    "attention.out_proj.bias": "D",
    "feed_forward_norm.weight": "D",
    "feed_forward_norm.bias": "D",
    "expand.weight": "HD",
    "expand.bias": "H",
    "contract.weight": "DH",
    "contract.bias": "D",
}
TRANSFORMER_WEIGHTS: Letters = {
    **{f"blocks.{k}.{name}": shape for k in range(LAYERS) for name, shape in BLOCK.items()},
    "norm.weight": "D",
    "norm.bias": "D",
}


def _transformer_sizes(rng: random.Random) -> Sizes:
    c, h = rng.sample([4, 5, 7], 2)
    b, t = rng.sample([size for size in (1, 4, 5, 7) if size not in (c, h)], 2)
    sizes = {"B": b, "T": t, "C": c, "H": h, "N": 3, "K": 2, "D": 6, "Z": 18}
    return sizes | {"L": LAYERS, "I": 1, "E": c + 1}


def _transformer(positions: str, case: Case) -> Tensors:
    """Run the body on embedded inputs, from what it has kept of earlier ones, if that is given."""
    features, hidden, heads, context = (case.sizes[letter] for letter in "DHNC")
    body = blank(TransformerBackbone, features, hidden, LAYERS, heads, context, positions, 0.0)
    weights = {name: case.inputs[name] for name in TRANSFORMER_WEIGHTS}
    x = case.inputs["x"]
    if "keys" not in case.inputs:
        y, _ = call(body, weights, x, _itself, None)
        return {"y": y}
    state = (case.inputs["keys"], case.inputs["values"], case.constants["filled"])
    y, (keys, values, _) = call(body, weights, x, _itself, state)
    return {"y": y, "keys": keys, "values": values}


def _itself(x: Tensor) -> Tensor:
    return x


_ROTARY = partial(_transformer, "rotary")
TRANSFORMER = OpSpec(
    name="transformer",
    sizes=_transformer_sizes,
    data={"x": "BTD", "keys": "LBNCK", "values": "LBNCK"},
    weights=TRANSFORMER_WEIGHTS,
    constants={"filled": Index("IB", 0, "E")},
    forward=partial(_forward, _ROTARY),
    backward=partial(_backward, _ROTARY),
)
UNPLACED_TRANSFORMER = of_layer(
    replace(TRANSFORMER, data={"x": "BTD"}, constants={}), partial(_transformer, "none")
)
