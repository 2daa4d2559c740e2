"""What attention does not take: refused with torch's kind of error, and in clearer words."""

from typing import Any

import pytest
import torch
from attending import B, E, N, S, T, attentions
from refusing import refused, zeros
from torch import nn

import carousel

X, Y = zeros(T, B, E), zeros(S, B, E)
MULTIPLE = "must be a multiple of num_heads"
STRICTER = (AttributeError, TypeError)  # where torch stumbles over a missing attribute


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"embed_dim": 0}, ValueError, "embed_dim must be at least 1, got 0"),
        ({"num_heads": -2}, ValueError, "num_heads must be at least 1, got -2"),
        ({"embed_dim": 8.0}, TypeError, "embed_dim must be of type int, got float"),
        ({"embed_dim": "8"}, TypeError, "embed_dim must be of type int, got str"),
        ({"kdim": 2.0}, TypeError, "kdim must be of type int, got float"),
        ({"vdim": "a"}, TypeError, "vdim must be of type int, got str"),
        (
            {"num_heads": 3},
            AssertionError,
            "embed_dim must be a multiple of num_heads, got 8 and 3",
        ),
    ],
)
def test_arguments_are_refused_as_by_torch(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arguments = {"embed_dim": E, "num_heads": N} | options
    refused(lambda: carousel.MultiheadAttention(**arguments), kind, message)
    with pytest.raises(kind):
        nn.MultiheadAttention(**arguments)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"num_heads": 2.0}, TypeError, "num_heads must be of type int, got float"),
        ({"kdim": 0}, ValueError, "kdim must be at least 1, got 0"),
        ({"dropout": 1.5}, ValueError, "dropout must be a probability in [0, 1], got 1.5"),
        ({"dropout": -0.1}, ValueError, "dropout must be a probability in [0, 1], got -0.1"),
        ({"dropout": None}, TypeError, "dropout must be a probability in [0, 1], got None"),
        ({"bias": 1}, TypeError, "bias must be of type bool, got int"),
        ({"batch_first": "no"}, TypeError, "batch_first must be of type bool, got str"),
        ({"add_bias_kv": None}, TypeError, "add_bias_kv must be of type bool, got NoneType"),
        ({"add_zero_attn": 1}, TypeError, "add_zero_attn must be of type bool, got int"),
        (
            {"backend": "cudnn"},
            ValueError,
            "backend must be one of ('auto', 'autograd', 'bptt', 'fused'), got 'cudnn'",
        ),
    ],
)
def test_arguments_are_refused_that_torch_takes_or_meets_later(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arguments = {"embed_dim": E, "num_heads": N} | options
    refused(lambda: carousel.MultiheadAttention(**arguments), kind, message)


AXES = "query, key and value have {} axes; each needs 3, or each 2 for one sequence alone"
BATCHES = (
    "query has a batch of {} and key of {} (axis 1, for batch_first=False); they must be equal"
)
INPUTS = [
    ((X[:, 0], Y, Y), AssertionError, AXES.format("2, 3 and 3")),
    ((X, Y[:, 0], Y[:, 0]), AssertionError, AXES.format("3, 2 and 2")),
    ((X, Y, Y[:, 0]), AssertionError, AXES.format("3, 3 and 2")),
    ((X[0, 0], Y, Y), AssertionError, AXES.format("1, 3 and 3")),
    ((X[None], Y, Y), AssertionError, AXES.format("4, 3 and 3")),
    ((X[..., :7], Y, Y), AssertionError, "query has 7 features, the layer expects 8"),
    ((X, Y[..., :7], Y[..., :7]), RuntimeError, "key has 7 features, the layer expects 8"),
    ((X, Y[..., :7], Y), AssertionError, "key has 7 features, the layer expects 8"),
    (
        (X, Y, X),
        AssertionError,
        "key has shape (7, 3, 8) and value (5, 3, 8); they may differ in the last axis only",
    ),
    ((X[:, :2], Y, Y), RuntimeError, BATCHES.format(2, 3)),
    ((X, Y[:, :1], Y[:, :1]), RuntimeError, BATCHES.format(3, 1)),
    (
        (X.double(), Y, Y),
        RuntimeError,
        "query is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    (
        (X, Y.long(), Y.long()),
        RuntimeError,
        "key is torch.int64, the layer torch.float32; convert one by .to()",
    ),
    (
        (X, Y.to("meta"), Y.to("meta")),
        RuntimeError,
        "key is on meta, the layer on cpu; move one by .to()",
    ),
]


@pytest.mark.parametrize(("inputs", "kind", "message"), INPUTS, ids=range(len(INPUTS)))
@pytest.mark.parametrize("need_weights", [True, False])
def test_inputs_are_refused_as_by_torch(
    inputs: Any, kind: type[Exception], message: str, need_weights: bool
) -> None:
    theirs, ours = attentions()
    refused(lambda: ours(*inputs, need_weights=need_weights), kind, message)
    with pytest.raises(kind):
        theirs(*inputs, need_weights=need_weights)


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        ((X, Y, Y[..., :5]), AssertionError, "key has 8 features, the layer expects 4"),
        ((X, Y[..., :4], Y), AssertionError, "value has 8 features, the layer expects 5"),
        (
            (X, Y[..., :4], Y[:3, :, :5]),
            AssertionError,
            "key has shape (7, 3, 4) and value (3, 3, 5); they may differ in the last axis only",
        ),
        ((X, Y[:, :2, :4], Y[:, :2, :5]), RuntimeError, BATCHES.format(3, 2)),
    ],
)
def test_inputs_of_other_features_are_refused_as_by_torch(
    inputs: Any, kind: type[Exception], message: str
) -> None:
    theirs, ours = attentions(kdim=4, vdim=5)
    refused(lambda: ours(*inputs), kind, message)
    with pytest.raises(kind):
        theirs(*inputs)


SHAPES = "(queries, keys) is (5, 7), (batch * heads, queries, keys) (6, 5, 7)"
MASKS = [
    ("attn_mask", zeros(S, T), RuntimeError, f"attn_mask has shape (7, 5); {SHAPES}"),
    ("attn_mask", zeros(B, T, S), RuntimeError, f"attn_mask has shape (3, 5, 7); {SHAPES}"),
    ("attn_mask", zeros(1, T, S), RuntimeError, f"attn_mask has shape (1, 5, 7); {SHAPES}"),
    ("attn_mask", zeros(S), AssertionError, f"attn_mask has 1 axes, not 2 or 3: {SHAPES}"),
    (
        "attn_mask",
        zeros(B, N, T, S),
        AssertionError,
        f"attn_mask has 4 axes, not 2 or 3: {SHAPES}",
    ),
    (
        "attn_mask",
        zeros(T, S, dtype=torch.int64),
        AssertionError,
        "attn_mask is torch.int64; it must be Boolean (True hides) or of floating point (added)",
    ),
    (
        "attn_mask",
        zeros(T, S, dtype=torch.float64),
        RuntimeError,
        "attn_mask is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    ("attn_mask", [1], TypeError, "attn_mask must be of type Tensor, got list"),
    (
        "key_padding_mask",
        zeros(S, B),
        AssertionError,
        "key_padding_mask has shape (7, 3); (batch, keys) is (3, 7)",
    ),
    (
        "key_padding_mask",
        zeros(S),
        AssertionError,
        "key_padding_mask has shape (7,); (batch, keys) is (3, 7)",
    ),
    (
        "key_padding_mask",
        zeros(B, S, dtype=torch.uint8),
        AssertionError,
        "key_padding_mask is torch.uint8; "
        "it must be Boolean (True hides) or of floating point (added)",
    ),
    (
        "key_padding_mask",
        zeros(B, S, dtype=torch.float64),
        RuntimeError,
        "key_padding_mask is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    ("key_padding_mask", [1], TypeError, "key_padding_mask must be of type Tensor, got list"),
]


@pytest.mark.parametrize(("name", "given", "kind", "message"), MASKS, ids=range(len(MASKS)))
@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_are_refused_as_by_torch(
    name: str, given: Any, kind: type[Exception], message: str, need_weights: bool
) -> None:
    theirs, ours = attentions()
    own = {name: given, "need_weights": need_weights}
    refused(lambda: ours(X, Y, Y, **own), kind, message)
    with pytest.raises(kind):
        theirs(X, Y, Y, **own)


def test_masks_of_one_sequence_alone_are_refused_as_by_torch() -> None:
    theirs, ours = attentions()
    one = (X[:, 0], Y[:, 0], Y[:, 0])
    shapes = "(queries, keys) is (5, 7), (batch * heads, queries, keys) (2, 5, 7)"
    for given, kind, message in [
        (zeros(S, T), RuntimeError, f"attn_mask has shape (7, 5); {shapes}"),
        (zeros(3, T, S), AssertionError, f"attn_mask has shape (3, 5, 7); {shapes}"),
    ]:
        refused(lambda given=given: ours(*one, attn_mask=given), kind, message)
        with pytest.raises(kind):
            theirs(*one, attn_mask=given)
    message = "key_padding_mask has shape (1, 7); (keys,) is (7,)"
    refused(lambda: ours(*one, key_padding_mask=zeros(1, S)), AssertionError, message)
    with pytest.raises(AssertionError):
        theirs(*one, key_padding_mask=zeros(1, S))


@pytest.mark.parametrize("need_weights", [True, False])
def test_the_causal_hint_needs_a_mask(need_weights: bool) -> None:
    """Also where torch's path without gradients attends to all instead."""
    theirs, ours = attentions(batch_first=True)
    x = zeros(B, T, E)
    own = {"need_weights": need_weights, "is_causal": True}
    message = "is_causal=True needs attn_mask: it says that it is the causal mask"
    refused(lambda: ours(x, x, x, **own), RuntimeError, message)
    with pytest.raises(RuntimeError):
        theirs(x, x, x, **own)
    with torch.no_grad():
        refused(lambda: ours.eval()(x, x, x, **own), RuntimeError, message)


def test_masks_of_two_types_are_warned_of() -> None:
    theirs, ours = attentions()
    hides, added = torch.zeros(B, S, dtype=torch.bool), torch.zeros(T, S)
    message = (
        "^attn_mask is torch.float32 and key_padding_mask torch.bool; True hides where a mask is "
        "Boolean, numbers are added: use one type for both$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        ours(X, Y, Y, key_padding_mask=hides, attn_mask=added)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="mismatched"):
        theirs(X, Y, Y, key_padding_mask=hides, attn_mask=added)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_tensor_is_refused(place: int) -> None:
    theirs, ours = attentions()
    inputs: list[Any] = [X, X, X]
    inputs[place] = [1.0]
    name = ("query", "key", "value")[place]
    refused(lambda: ours(*inputs), TypeError, f"{name} must be of type Tensor, got list")
    with pytest.raises(STRICTER):
        theirs(*inputs)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_nested_tensors_are_refused() -> None:
    theirs, ours = attentions(batch_first=True)
    x = torch.nested.nested_tensor([torch.randn(2, E), torch.randn(3, E)])
    message = "query is nested; pad it, and say where by key_padding_mask"
    refused(lambda: ours(x, x, x), AssertionError, message)
    with pytest.raises(AssertionError):  # in training; torch's other path takes them
        theirs(x, x, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64], ids=str)
def test_autocast_converts_neither_ids_nor_doubles(dtype: torch.dtype) -> None:
    theirs, ours = attentions()
    x = X.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        message = f"query is {dtype}, the layer torch.float32; autocast converts neither"
        refused(lambda: ours(x, x, x), RuntimeError, message)
        with pytest.raises(RuntimeError):
            theirs(x, x, x)
