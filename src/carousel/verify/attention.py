"""The OpSpecs of attention, at once and in blocks.

Letters: B sequences, N heads, T queries, S keys, K features of a head, M of a value; C positions
that a query sees, F before which a key is the first, U of a block.
"""

import random
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from carousel.ops import attention, flash_attention
from carousel.ops.attention import AttentionMask
from carousel.verify.op_spec import Case, Hidden, Index, OpSpec, Sizes, Tensors


def _attention_sizes(heads: int, letters: str, rng: random.Random) -> Sizes:
    """Return sizes that all differ, B and N among the smallest so many; more keys than queries.

    Who sees one key alone takes it whole: the last query sees two, or q had no gradient at all.
    """
    b, n = rng.sample(range(1, heads + 1), 2)
    t, s = sorted(rng.sample([size for size in range(2, 7) if size not in (b, n)], 2))
    k, m = rng.sample([size for size in range(1, 7) if size not in (b, n, t, s)], 2)
    sizes = {"B": b, "N": n, "T": t, "S": s, "K": k, "M": m}
    sizes |= {"C": rng.choice((2, 3, s)), "F": rng.randint(1, s - 1), "U": rng.randint(1, 3)}
    return {letter: sizes[letter] for letter in letters}


def sight(case: Case) -> AttentionMask:
    """Return who sees whom: all, or a window of C of the keys that are written; and what is added.

    Where some keys are hidden, what is added hides them.
    """
    bias = case.inputs.get("b_scores", case.constants.get("bias"))
    if bias is not None and "hidden" in case.constants:
        bias = bias.masked_fill(case.constants["hidden"], float("-inf"))
    return AttentionMask(case.sizes.get("C"), case.constants.get("first"), bias)


def visible(case: Case) -> Tensor:
    """Return which keys a query may take from, (T, S, B, N), written out place by place."""
    b, n, t, s = (case.sizes[letter] for letter in "BNTS")
    seen = torch.ones(t, s, b, n, dtype=torch.bool)
    places = torch.arange(s)
    if "C" in case.sizes:
        ages = (places[-t:].unsqueeze(-1) - places)[..., None, None]  # of keys, to a query
        seen &= (ages >= 0) & (ages < case.sizes["C"])
    if "first" in case.constants:
        seen &= places[:, None, None] >= case.constants["first"].unsqueeze(-1)  # (S, B, 1)
    bias = sight(case).bias
    if bias is None:
        return seen
    return seen & (bias.expand(b, n, t, s).permute(2, 3, 0, 1) > float("-inf"))


def attended(case: Case) -> Tensors:
    """Return torch's scaled dot-product attention, of the same sight."""
    q, k, v = (case.inputs[name] for name in "qkv")
    bias = sight(case).bias
    added = q.new_zeros(*q.shape[:3], k.shape[2]) if bias is None else bias
    hidden = ~visible(case).permute(2, 3, 0, 1)  # (B, N, T, S)
    mask = added.masked_fill(hidden, float("-inf"))
    return {"y": F.scaled_dot_product_attention(q, k, v, mask)}


def _attention(case: Case) -> tuple[Tensors, attention.Saved]:
    q, k, v = (case.inputs[name] for name in "qkv")
    op, keep = case.ops["attention"], case.constants.get("keep")
    y, weights, saved = op.forward(q, k, v, sight(case), keep)
    return {"y": y, "weights": weights}, saved


def _attention_backward(case: Case, cotangents: Tensors, saved: attention.Saved) -> Tensors:
    op = case.ops["attention"]
    found = op.backward(cotangents["y"], saved, cotangents.get("weights"))
    gradients = dict(zip(("q", "k", "v", "b_scores"), found, strict=True))
    bias = case.inputs.get("b_scores")
    if bias is not None and bias.shape != found[-1].shape:  # one for several scores
        gradients["b_scores"] = found[-1].sum_to_size(bias.shape)
    return gradients


ATTENTION = OpSpec(
    name="attention",
    module="attention",
    sizes=partial(_attention_sizes, 4, "BNTSKM"),
    data={"q": "BNTK", "k": "BNSK", "v": "BNSM", "b_scores": "BNTS"},
    weights={},
    forward=_attention,
    backward=_attention_backward,
    reference=attended,
)
ATTENTION_MASKED = replace(
    ATTENTION,
    name="attention, masked",
    sizes=partial(_attention_sizes, 4, "BNTSKMCF"),
    constants={"keep": "BNTS", "first": Index("B", 0, "F")},
)
ATTENDED = {"y": "BNTM", "weights": "BNTS"}


def _blocks(case: Case) -> tuple[Tensors, flash_attention.Saved]:
    q, k, v = (case.inputs[name] for name in "qkv")
    op = case.ops["flash_attention"]
    y, saved = op.forward(q, k, v, sight(case), block=case.sizes["U"])
    return {"y": y}, saved


def _blocks_backward(case: Case, cotangents: Tensors, saved: flash_attention.Saved) -> Tensors:
    op = case.ops["flash_attention"]
    found = op.backward(cotangents["y"], saved, block=case.sizes["U"])
    return dict(zip("qkv", found, strict=True))


BLOCKS = OpSpec(
    name="attention blocks",
    module="flash_attention",
    sizes=partial(_attention_sizes, 3, "BNTSKMU"),
    data={"q": "BNTK", "k": "BNSK", "v": "BNSM"},
    weights={},
    forward=_blocks,
    backward=_blocks_backward,
    reference=attended,
)
BLOCKS_MASKED = replace(
    BLOCKS,
    name="attention blocks, masked",
    sizes=partial(_attention_sizes, 3, "BNTSKMCFU"),
    constants={"bias": "BNTS", "hidden": Hidden("BNTS"), "first": Index("B", 0, "F")},
)

ATTENTION_SPECS = {
    "attention": ATTENTION,
    "attention_masked": ATTENTION_MASKED,
    "flash_attention": BLOCKS,
    "attention_in_blocks_masked": BLOCKS_MASKED,
}
