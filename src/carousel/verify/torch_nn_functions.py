"""torch.nn: what is no recurrence against torch's functions and layers of the same kind.

Outputs and the gradients of every input and weight, all random, the sizes all different.
"""

import torch
from torch import nn

from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.modules import LAYERS, blank, call
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Tensors,
    as_gradients,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)
from carousel.verify.torch_nn import BOUNDS


def against_torch(spec: OpSpec, dtype: torch.dtype, seeds: range) -> CheckResult:
    """Return the largest relative difference of an output or a gradient from the reference's."""
    return worst(_one(_rounded(draw_case(spec, seed), dtype), seed) for seed in seeds)


def _one(case: Case, seed: int) -> CheckResult:
    assert case.spec.reference is not None
    inputs = {name: x.detach().requires_grad_() for name, x in case.inputs.items()}
    want = case.spec.reference(case._replace(inputs=inputs))
    cotangents = draw_cotangents(want, seed)
    gradients = torch.autograd.grad(
        list(want.values()), list(inputs.values()), list(cotangents.values())
    )
    outputs, trace = forward(case)
    found = backward(case, cotangents, trace)
    return distance(
        outputs | as_gradients(found),
        want | as_gradients(dict(zip(inputs, gradients, strict=True))),
        BOUNDS[next(iter(inputs.values())).dtype],
        f"seed {seed}",
    )


def _rounded(case: Case, dtype: torch.dtype) -> Case:
    def of(tensors: Tensors) -> Tensors:
        return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}

    return case._replace(inputs=of(case.inputs), constants=of(case.constants))


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
