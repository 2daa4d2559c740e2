"""torch.nn.MultiheadAttention and ours with the same parameters; masks for them; their results."""

from typing import Any

import torch
from torch import Tensor, nn
from twins import Tensors, with_gradients

import carousel

B, T, S, E, N = 3, 5, 7, 8, 2  # different: a swapped axis cannot pass unseen
Mask = Tensor | None


def attentions(
    features: int = E, heads: int = N, *, backend: Any = "auto", **options: Any
) -> tuple[Any, Any]:
    """torch's layer with every parameter random and wide, and ours with the same ones."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(features, heads, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = carousel.MultiheadAttention(features, heads, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def mask(kind: str | None, *shape: int, seen: list[int], dtype: torch.dtype) -> Mask:
    """A random mask, "bool" or "float" (a leaf of a gradient), that never hides the keys `seen`."""
    if kind is None:
        return None
    is_hidden = torch.rand(shape) < 0.5
    is_hidden[..., seen] = False
    if kind == "bool":
        return is_hidden
    return torch.randn(shape, dtype=dtype).masked_fill(is_hidden, float("-inf")).requires_grad_()


def causal(kind: str, queries: int, keys: int, dtype: torch.dtype) -> Tensor:
    """The causal mask: query i sees the keys up to i."""
    is_hidden = torch.ones(queries, keys, dtype=torch.bool).triu(1)
    if kind == "bool":
        return is_hidden
    return torch.zeros(queries, keys, dtype=dtype).masked_fill(is_hidden, float("-inf"))


def attended(layer: nn.Module, inputs: tuple[Tensor, ...], **given: Any) -> Tensors:
    """Output and weights by name, the weights where there are any."""
    torch.manual_seed(0)  # of the dropout
    y, weights = layer(*inputs, **given)
    return {"y": y} if weights is None else {"y": y, "weights": weights}


def results(layer: nn.Module, inputs: tuple[Tensor, ...], **given: Any) -> Tensors:
    """Output, weights, and the gradients of a random weighted sum of them to everything."""
    outputs = attended(layer, inputs, **given)
    leaves = dict(zip(("query", "key", "value"), inputs, strict=True)) | given
    wanted = {n: x for n, x in leaves.items() if isinstance(x, Tensor) and x.requires_grad}
    return with_gradients(layer, outputs, wanted)
