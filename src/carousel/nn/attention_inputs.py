"""Check the inputs of multi-head attention, and merge its masks into one bias.

Shapes: B batch, N heads, T queries, S keys, E features. The kinds of error are those of
torch.nn.MultiheadAttention.
"""

import warnings
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.nn.validation import check_fits, check_is


class AttentionLayer(Protocol):
    """The attributes of `MultiheadAttention` that its inputs are checked against."""

    in_proj_weight: nn.Parameter | None
    embed_dim: int
    kdim: int
    vdim: int
    num_heads: int
    batch_first: bool

    @property
    def out_proj(self) -> nn.Linear:
        """The projection of what the heads return."""


class Sizes(NamedTuple):
    """Sizes that determine the shapes of masks."""

    batch: int
    heads: int
    queries: int
    keys: int


def check_sizes(*, embed_dim: int, num_heads: int, kdim: int, vdim: int) -> None:
    """Refuse sizes that no layer can have.

    Raises:
        ValueError: If one is below 1.
        AssertionError: If the features cannot be shared among the heads.
    """
    sizes = {"embed_dim": embed_dim, "num_heads": num_heads, "kdim": kdim, "vdim": vdim}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if embed_dim % num_heads != 0:
        raise AssertionError(
            f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}"
        )


def check_inputs(layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor) -> Sizes:
    """Refuse inputs that do not fit the layer or one another; return what they say of the masks.

    Raises:
        TypeError: If one is no tensor.
        AssertionError: If one is nested, has other axes, or does not fit the others.
        RuntimeError: If the batches differ, or one is of another type or device.
    """
    named = {"query": query, "key": key, "value": value}
    for name, part in named.items():
        check_is(name, part, Tensor)
        if part.is_nested:
            raise AssertionError(f"{name} is nested; pad it, and say where by key_padding_mask")
    axes = [part.dim() for part in named.values()]
    if axes not in ([2, 2, 2], [3, 3, 3]):
        raise AssertionError(
            f"query, key and value have {axes[0]}, {axes[1]} and {axes[2]} axes; "
            "each needs 3, or each 2 for one sequence alone"
        )
    if key.shape[:-1] != value.shape[:-1]:
        raise AssertionError(
            f"key has shape {tuple(key.shape)} and value {tuple(value.shape)}; "
            "they may differ in the last axis only"
        )
    # Where one weight is for all, torch meets a wrong number in the product only.
    is_late = layer.in_proj_weight is not None and key.shape == value.shape
    for name, size in (("query", layer.embed_dim), ("key", layer.kdim), ("value", layer.vdim)):
        if named[name].shape[-1] != size:
            kind = RuntimeError if is_late and name != "query" else AssertionError
            found = named[name].shape[-1]
            raise kind(f"{name} has {found} features, the layer expects {size}")
        check_fits(name, named[name], layer.out_proj.weight, RuntimeError)
    if query.dim() == 2:
        return Sizes(1, layer.num_heads, len(query), len(key))
    rows, steps = (0, 1) if layer.batch_first else (1, 0)
    if query.shape[rows] != key.shape[rows]:
        raise RuntimeError(
            f"query has a batch of {query.shape[rows]} and key of {key.shape[rows]} "
            f"(axis {rows}, for batch_first={layer.batch_first}); they must be equal"
        )
    return Sizes(query.shape[rows], layer.num_heads, query.shape[steps], key.shape[steps])


def check_masks(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    *,
    sizes: Sizes,
    is_batched: bool,
    weight: Tensor,
) -> None:
    """Refuse masks of another shape or type.

    A Boolean mask hides where it is True; a mask of floating point is added to the scores.

    Args:
        attn_mask: (T, S), or (B·N, T, S).
        key_padding_mask: (B, S), without B for one sequence alone.
        sizes: B, N, T and S.
        is_batched: Whether the inputs have an axis B.
        weight: A parameter: a mask of floating point is of its type or float32, on its device.

    Raises:
        TypeError: If a mask is no tensor.
        AssertionError: If it is neither Boolean nor of floating point, or has other axes; a mask
            of the keys also of another size.
        RuntimeError: If attn_mask is of another size, or a mask of floating point of another type.
    """
    batch, heads, queries, keys = sizes
    if attn_mask is not None:
        _check_kind("attn_mask", attn_mask, weight)
        of_all, of_each = (queries, keys), (batch * heads, queries, keys)
        wanted = f"(queries, keys) is {of_all}, (batch * heads, queries, keys) {of_each}"
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"attn_mask has {attn_mask.dim()} axes, not 2 or 3: {wanted}")
        if tuple(attn_mask.shape) not in (of_all, of_each):
            kind = RuntimeError if is_batched or attn_mask.dim() == 2 else AssertionError
            raise kind(f"attn_mask has shape {tuple(attn_mask.shape)}; {wanted}")
    if key_padding_mask is not None:
        _check_kind("key_padding_mask", key_padding_mask, weight)
        shape = (batch, keys) if is_batched else (keys,)
        if tuple(key_padding_mask.shape) != shape:
            named = "(batch, keys)" if is_batched else "(keys,)"
            found = tuple(key_padding_mask.shape)
            raise AssertionError(f"key_padding_mask has shape {found}; {named} is {shape}")
    if attn_mask is not None and key_padding_mask is not None:
        _warn_of_mixture(attn_mask, key_padding_mask)


def as_bias(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    *,
    sizes: Sizes,
    own_keys: int,
    dtype: torch.dtype,
) -> Tensor | None:
    """Return what both masks add to the scores, broadcast to (B, N, T, S + own); None: nothing.

    Keys that the layer brings along stand last, and every query sees them.
    """
    bias = None
    if attn_mask is not None:
        bias = _added(attn_mask, dtype)
        bias = bias[None, None] if bias.dim() == 2 else bias.reshape(sizes)
    if key_padding_mask is not None:
        padding = _added(key_padding_mask, dtype).view(sizes.batch, 1, 1, sizes.keys)
        bias = padding if bias is None else bias + padding
    return bias if bias is None or own_keys == 0 else F.pad(bias, (0, own_keys))


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what a mask adds: itself, or -inf where it is True."""
    if mask.dtype != torch.bool:
        return mask.to(torch.promote_types(mask.dtype, dtype))  # -1.01 is not rounded to bfloat16
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def _check_kind(name: str, mask: Tensor, weight: Tensor) -> None:
    check_is(name, mask, Tensor)
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise AssertionError(
            f"{name} is {mask.dtype}; it must be Boolean (True hides) or of floating point (added)"
        )
    is_any_layers = mask.dtype in (torch.bool, torch.float32)
    like = weight.new_empty(0, dtype=mask.dtype) if is_any_layers else weight
    check_fits(name, mask, like, RuntimeError)


def _warn_of_mixture(attn_mask: Tensor, key_padding_mask: Tensor) -> None:
    """Warn, as torch does, of a Boolean mask beside one of numbers: one may be a mistake."""
    if attn_mask.dtype != key_padding_mask.dtype:
        message = (
            f"attn_mask is {attn_mask.dtype} and key_padding_mask {key_padding_mask.dtype}; "
            "True hides where a mask is Boolean, numbers are added: use one type for both"
        )
        warnings.warn(message, stacklevel=7)  # points to where the layer is called
