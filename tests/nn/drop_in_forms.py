"""Rows of docs/drop_in.md for some layers alone: forms of recurrent layers, masks of attention."""

from collections.abc import Callable
from typing import Any

import torch
from drop_in_checks import Check, Inputs, along, gradients, parts, tangent, tangents
from drop_in_modules import in_place
from drop_in_tracers import exported
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

# A row of recurrent layers, and how the layer is made for it.
RECURRENT: dict[str, tuple[Check, dict[str, Any]]] = {}


def row(name: str, **options: Any) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RECURRENT[name] = check, options
        return check

    return add


def packed(x: Inputs) -> PackedSequence:
    return pack_padded_sequence(x[0], torch.tensor([3, 2]))


def states(layer: Any, x: Tensor) -> Any:
    """A random initial state of the form that the layer takes."""
    torch.manual_seed(5)
    h, c = (torch.randn(layer.num_layers, x.shape[1], layer.hidden_size).to(x) for _ in "hc")
    return (h, c) if layer.mode == "LSTM" else h


@row("packed: outputs and states")
def packed_outputs(layer: nn.Module, x: Inputs) -> Any:
    return parts(layer(packed(x)))


@row("packed, bidirectional: `forward_ad`", bidirectional=True)
def packed_tangents(layer: nn.Module, x: Inputs) -> Any:
    with forward_ad.dual_level():
        torch.manual_seed(2)
        data, *others = packed(x)
        dual = PackedSequence(forward_ad.make_dual(data, along(data)), *others)
        return [tangent(y) for y in parts(layer(dual))]


@row("packed: `detach_`")
def packed_detached(layer: nn.Module, x: Inputs) -> Any:
    y = parts(layer(packed(x)))
    return [part.detach_().requires_grad for part in y]


@row("initial state: `forward_ad`")
def tangents_of_states(layer: nn.Module, x: Inputs) -> Any:
    with forward_ad.dual_level():
        start = states(layer, x[0])
        torch.manual_seed(2)
        duals = [forward_ad.make_dual(part, along(part)) for part in parts(start)]
        hx = tuple(duals) if isinstance(start, tuple) else duals[0]
        return [tangent(y) for y in parts(layer(x[0], hx))]


RECURRENT |= {
    "two layers, bidirectional: `forward_ad` under `no_grad`": (
        lambda layer, x: no_grad_tangents(layer, x),
        {"num_layers": 2, "bidirectional": True},
    ),
    "`batch_first`: gradients": (gradients, {"batch_first": True}),
    "`batch_first`: `detach_`": (in_place(lambda y: y.detach_()), {"batch_first": True}),
    "`batch_first`: `mul_`": (in_place(lambda y: y.mul_(2)), {"batch_first": True}),
    "bidirectional: `export`, any batch": (exported({}), {"bidirectional": True}),
}


def no_grad_tangents(layer: nn.Module, x: Inputs) -> Any:
    with torch.no_grad():
        return tangents(layer, x)


def causal(dtype: torch.dtype) -> Tensor:
    hides = torch.ones(3, 3, dtype=torch.bool).triu(1)
    if dtype == torch.bool:
        return hides
    return torch.zeros(3, 3, dtype=dtype).masked_fill(hides, float("-inf"))


def padding(dtype: torch.dtype) -> Tensor:
    hides = torch.tensor([[False] * 3, [False, False, True]])
    return (
        hides if dtype == torch.bool else torch.zeros(2, 3).masked_fill(hides, -torch.inf).to(dtype)
    )


def masked(
    layer_type: torch.dtype,
    attn_mask: torch.dtype | None = None,
    key_padding_mask: torch.dtype | None = None,
    need_weights: bool = False,
) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        given: dict[str, Any] = {"need_weights": need_weights}
        if attn_mask is not None:
            given["attn_mask"] = causal(attn_mask)
        if key_padding_mask is not None:
            given["key_padding_mask"] = padding(key_padding_mask)
        y = parts(layer.to(layer_type)(*(part.to(layer_type) for part in x), **given))
        return [(part.dtype, part.float()) for part in y]

    return check


SHORT = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
SHORT |= {torch.float16: "float16", torch.bool: "bool"}


def mask_rows() -> dict[str, Check]:
    """Every type of a mask in a layer of every type."""
    rows: dict[str, Check] = {}
    layers = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
    for layer in layers:
        for mask in (torch.bool, *layers):
            for kind in ("attn_mask", "key_padding_mask"):
                name = f"layer {SHORT[layer]}, {kind} {SHORT[mask]}"
                rows[name] = masked(layer, **{kind: mask})  # type: ignore[arg-type]
    half, single = torch.bfloat16, torch.float32
    rows["layer bfloat16, both masks float32"] = masked(half, single, single)
    rows["layer bfloat16, both masks, bool and float32"] = masked(half, torch.bool, single)
    rows["layer bfloat16, attn_mask float32, weights needed"] = masked(
        half, single, need_weights=True
    )
    return rows


MASKS = mask_rows()
