"""torch.nn: what is no recurrence against torch's functions and layers of the same kind.

Outputs and the gradients of every input and weight, all random, the sizes all different.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from carousel.verify.cases import (
    Case,
    Subject,
    Tensors,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)
from carousel.verify.figure import Figure, distance, worst
from carousel.verify.functions import sight_of_blocks, visible
from carousel.verify.modules import LAYERS, blank, call
from carousel.verify.modules import multi_head as multi_head_of
from carousel.verify.torch_nn import BOUNDS


def against_torch(
    subject: Subject, theirs: Callable[[Case], Tensors], dtype: torch.dtype, seeds: range
) -> Figure:
    """Return the largest relative difference of an output or a gradient."""
    return worst(_one(_rounded(draw_case(subject, seed), dtype), theirs, seed) for seed in seeds)


def _one(case: Case, theirs: Callable[[Case], Tensors], seed: int) -> Figure:
    inputs = {name: x.detach().requires_grad_() for name, x in case.inputs.items()}
    want = theirs(case._replace(inputs=inputs))
    cotangents = draw_cotangents(want, seed)
    gradients = torch.autograd.grad(
        list(want.values()), list(inputs.values()), list(cotangents.values())
    )
    outputs, trace = forward(case)
    found = backward(case, cotangents, trace)
    return distance(
        outputs | _as_gradients(found),
        want | _as_gradients(dict(zip(inputs, gradients, strict=True))),
        BOUNDS[next(iter(inputs.values())).dtype],
        f"seed {seed}",
    )


def _rounded(case: Case, dtype: torch.dtype) -> Case:
    def of(tensors: Tensors) -> Tensors:
        return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}

    return case._replace(inputs=of(case.inputs), constants=of(case.constants))


def _as_gradients(gradients: Tensors) -> Tensors:
    return {f"d{name}": d for name, d in gradients.items()}


def softmax(case: Case) -> Tensors:
    """Return torch's."""
    return {"p": F.softmax(case.inputs["s"], -1)}


def cross_entropy(case: Case) -> Tensors:
    """Return torch's, which wants the logits on axis 1."""
    logits = case.inputs["logits"].movedim(-1, 1)
    return {"losses": nn.CrossEntropyLoss(reduction="none")(logits, case.constants["targets"])}


def layer_norm(case: Case) -> Tensors:
    """Return torch's."""
    weights = {"weight": case.inputs["gain"], "bias": case.inputs["shift"]}
    return {"y": call(blank(nn.LayerNorm, case.sizes["D"]), weights, case.inputs["x"])}


def embedding(case: Case) -> Tensors:
    """Return torch's; what is -1 here, no token at all, is its token of padding."""
    table = case.inputs["table"]
    weights = {"weight": torch.cat([torch.zeros_like(table[:1]), table])}
    layer = blank(nn.Embedding, len(table) + 1, case.sizes["D"], 0)
    return {"x": call(layer, weights, case.constants["ids"] + 1)}


def convolution(case: Case) -> Tensors:
    """Return a fixed window as what it is to torch, a convolution over time."""
    x, w, b = (case.inputs[name] for name in "xwb")
    kernel = w.view(len(w), case.sizes["O"], case.sizes["D"]).transpose(1, 2)  # (H, D, O)
    layer = blank(nn.Conv1d, case.sizes["D"], case.sizes["H"], case.sizes["O"])
    return {"h": call(layer, {"weight": kernel, "bias": b}, x.transpose(1, 2)).mT.tanh()}


def attended(case: Case) -> Tensors:
    """Return torch's scaled dot-product attention, of the same sight."""
    q, k, v = (case.inputs[name] for name in "qkv")
    bias = sight_of_blocks(case).bias
    added = q.new_zeros(*q.shape[:3], k.shape[2]) if bias is None else bias
    hidden = ~visible(case).permute(2, 3, 0, 1)  # (B, N, T, S)
    mask = added.masked_fill(hidden, float("-inf"))
    return {"y": F.scaled_dot_product_attention(q, k, v, mask)}


def multi_head(case: Case) -> Tensors:
    """Return torch's."""
    return multi_head_of(nn.MultiheadAttention, case)


TORCHS_NAMES = {
    "attention_norm": "norm1",
    "attention.in_proj.": "self_attn.in_proj_",
    "attention.out_proj": "self_attn.out_proj",
    "feed_forward_norm": "norm2",
    "expand": "linear1",
    "contract": "linear2",
    "blocks": "layers",
}


def encoder(case: Case) -> Tensors:
    """Return torch's encoder, pre-norm, with a mask that lets each position see the last C."""
    d, n, h, c = (case.sizes[letter] for letter in "DNHC")
    x = case.inputs["x"]
    module = blank(_encoder, d, n, h)
    weights = {_torchs_name(name): w for name, w in case.inputs.items() if name != "x"}
    ages = torch.arange(x.shape[1]).unsqueeze(-1) - torch.arange(x.shape[1])
    return {"y": call(module, weights, x, (ages < 0) | (ages >= c))}


def _encoder(features: int, heads: int, units: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        features, heads, units, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(features), enable_nested_tensor=False)


def _torchs_name(name: str) -> str:
    for ours, theirs in TORCHS_NAMES.items():
        name = name.replace(ours, theirs)
    return name
