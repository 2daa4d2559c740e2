"""Attention as a case: in a window, from a cache, padded, with dropout; at once and in blocks."""

from collections.abc import Callable, Mapping
from typing import Any

import op_definitions
import torch
from op_case import Case, Code, Pieces, Sizes, by_hand, normal
from op_definitions import indices, sees
from op_given import Given, Tensors
from torch import Tensor

from carousel.ops.attention import AttentionMask


def attention(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    y, weights, trace = code["attention"].forward(*inputs_of_attention(p, given), given.keep)
    return {"y": y, "weights": weights}, trace


def attention_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    dq, dk, dv, dscores = code["attention"].backward(d["y"], trace, d.get("weights"))
    gradients = {"q": dq, "k": dk, "v": dv}
    return gradients if given.hidden is None else gradients | {"bias": dscores.sum(0)}


def blocks(code: Code, p: Tensors, given: Given) -> tuple[Tensors, Any]:
    op = code["flash_attention"]
    y, trace = op.forward(*inputs_of_attention(p, given), block=given.block)
    return {"y": y}, trace


def blocks_backward(code: Code, d: Tensors, trace: Any, given: Given) -> Tensors:
    gradients = code["flash_attention"].backward(d["y"], trace, block=given.block)
    return dict(zip(("q", "k", "v"), gradients, strict=True))


def inputs_of_attention(p: Tensors, given: Given) -> tuple[Tensor, Tensor, Tensor, AttentionMask]:
    bias = p.get("bias", given.bias)
    if bias is not None:
        bias = bias.masked_fill(given.hidden, float("-inf"))
    return p["q"], p["k"], p["v"], given.sight._replace(bias=bias)


def in_a_window(sizes: Sizes) -> Given:
    return Given(sight=AttentionMask(sizes.C), block=sizes.block)


def in_a_cache(sizes: Sizes) -> Given:
    """Of the first text two keys are not yet written."""
    return Given(sight=AttentionMask(sizes.C, torch.tensor([2, 0])), block=sizes.block)


def with_padding(sizes: Sizes) -> Given:
    """The second key is padding, and the second query sees nothing at all."""
    hidden = torch.zeros(sizes.T, sizes.S, dtype=torch.bool)
    hidden[:, 1] = hidden[1] = True
    return Given(hidden=hidden, block=sizes.block)


def with_constant_padding(sizes: Sizes) -> Given:
    """The scores are so low that e to them is 0; only their differences matter."""
    bias = normal(sizes.N, sizes.T, sizes.S, seed=9) - 1000
    return with_padding(sizes)._replace(bias=bias)


def with_dropout(sizes: Sizes) -> Given:
    """No factor is 0, so that nothing is cut off."""
    keep = normal(sizes.B, sizes.N, sizes.T, sizes.T, seed=9).sigmoid() + 0.5
    return in_a_window(sizes)._replace(keep=keep)


def attention_depends(p: Tensors, given: Given) -> Tensors:
    """On the values it sees; where there is a choice, on their keys, and on its query."""
    (texts, heads, queries, _), keys = p["q"].shape, p["k"].shape[2]
    values = torch.zeros(texts, heads, queries, texts, heads, keys, dtype=torch.bool)
    own = torch.zeros(texts, heads, queries, texts, heads, queries, dtype=torch.bool)
    for b, n, i in indices(texts, heads, queries):
        values[b, n, i, b, n] = torch.tensor(
            [sees(given, b, i, j, queries, keys) for j in range(keys)]
        )
        own[b, n, i, b, n, i] = True
    has_choice = values.sum((-3, -2, -1), keepdim=True) > 1
    return {"v": values, "k": values & has_choice, "q": own & has_choice}


def attention_in_pieces(
    case: Case, code: Code, p: Tensors, given: Given, pieces: Pieces
) -> Tensors:
    """From a cache of exactly C positions, of which those not yet written hold noise."""
    (texts, heads, queries, _), keys = p["q"].shape, p["k"].shape[2]
    context, first, _ = given.sight
    noise = normal(texts, heads, context, p["q"].shape[3] + p["v"].shape[3], seed=8)
    noises = noise.split([p["q"].shape[3], p["v"].shape[3]], dim=-1)
    k, v = (torch.cat([n, p[name]], dim=2) for n, name in zip(noises, "kv", strict=True))
    written = context + (torch.zeros(texts, dtype=torch.int64) if first is None else first)
    outputs = []
    for start, end in pieces:
        cut = slice(keys - queries + start, keys - queries + context + end)
        own = {"q": p["q"][:, :, start:end], "k": k[:, :, cut], "v": v[:, :, cut]}
        sight = AttentionMask(context, (written - cut.start).clamp(min=0))
        outputs.append(by_hand(code, case, own, given._replace(sight=sight))["y"])
    return {"y": torch.cat(outputs, dim=2)}


SELF = {"q": "BNTK", "k": "BNTK", "v": "BNTM"}
CROSS = {"q": "BNTK", "k": "BNSK", "v": "BNSM"}


def plain(
    shapes: Mapping[str, str],
    given: Callable[[Sizes], Given],
    namesake: Callable[[Tensors, Given], Tensors] | None = op_definitions.torch_attention,
    pieces: Callable[..., Tensors] | None = None,
) -> Case:
    """A case of the attention that keeps its weights."""
    return Case(
        "attention",
        shapes,
        attention,
        attention_backward,
        op_definitions.attention,
        namesake,
        given,
        attention_depends,
        pieces,
    )


def in_blocks(case: Case) -> Case:
    """The same case of the attention that does not."""
    return case._replace(
        module="flash_attention",
        forward=blocks,
        backward=blocks_backward,
        definition=op_definitions.flash_attention,
    )


ATTENTION = {
    "attention": (windowed := plain(SELF, in_a_window, pieces=attention_in_pieces)),
    "attention_cached": (cached := plain(CROSS, in_a_cache, pieces=attention_in_pieces)),
    "attention_padded": plain(CROSS | {"bias": "NTS"}, with_padding),
    "attention_dropout": plain(SELF, with_dropout, namesake=None),
    "blocks": in_blocks(windowed),
    "blocks_cached": in_blocks(cached),
    "blocks_padded": in_blocks(plain(CROSS, with_constant_padding)),
}
