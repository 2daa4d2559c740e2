"""What a layer does not take: refused with torch's kind of error, and in clearer words."""

import re
from typing import Any

import pytest
import torch
from refusing import SIZES, refused, states, zeros
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from twins import LAYERS, B, D, H, L, P, T, twins

import carousel

X = torch.zeros(T, B, D)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size must be at least 1, got 0"),
        ({"input_size": 2.0}, TypeError, "input_size must be of type int, got float"),
        ({"hidden_size": -1}, ValueError, "hidden_size must be at least 1, got -1"),
        ({"hidden_size": "6"}, TypeError, "hidden_size must be of type int, got str"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
        ({"num_layers": 1.5}, TypeError, "num_layers must be of type int, got float"),
        ({"bias": 1}, TypeError, "bias must be of type bool, got int"),
        ({"batch_first": "no"}, TypeError, "batch_first must be of type bool, got str"),
        ({"dropout": 1.5}, ValueError, "dropout must be a probability in [0, 1], got 1.5"),
        ({"dropout": -0.1}, ValueError, "dropout must be a probability in [0, 1], got -0.1"),
        ({"dropout": float("nan")}, ValueError, "dropout must be a probability in [0, 1], got nan"),
        ({"dropout": True}, ValueError, "dropout must be a probability in [0, 1], got True"),
        ({"dropout": "0.5"}, ValueError, "dropout must be a probability in [0, 1], got '0.5'"),
        ({"dropout": None}, TypeError, "dropout must be a probability in [0, 1], got None"),
    ],
)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_arguments_as_torch_does(
    name: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    refused(lambda: getattr(carousel, name)(**(SIZES | options)), kind, message)
    if options != {"dropout": "0.5"}:  # torch meets it in float() already
        with pytest.raises(kind):
            getattr(nn, name)(**(SIZES | options))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_names_that_are_none(name: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'droput'"):
        getattr(carousel, name)(D, H, droput=0.5)
    message = "backend must be one of ('auto', 'autograd', 'bptt', 'fused'), got 'cudnn'"
    refused(lambda: getattr(carousel, name)(D, H, backend="cudnn"), ValueError, message)
    with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
        getattr(carousel, name)(D, H, dtype=torch.int64)


def test_what_one_family_alone_has_is_refused_by_the_others() -> None:
    for name in ("RNN", "GRU"):
        for layer in (getattr(carousel, name), getattr(nn, name)):
            with pytest.raises(ValueError, match="proj_size"):
                layer(D, H, proj_size=P)
    for module in (carousel, nn):
        with pytest.raises(ValueError, match="gelu"):
            module.RNN(D, H, nonlinearity="gelu")
        with pytest.raises(TypeError, match="nonlinearity"):
            module.LSTM(D, H, nonlinearity="tanh")
        for size in (-1, H):
            with pytest.raises(ValueError, match="proj_size"):
                module.LSTM(D, H, proj_size=size)
        with pytest.raises(TypeError):
            module.LSTM(D, H, proj_size=2.5)
        with pytest.raises(RuntimeError, match="gelu"):  # by torch when it is called
            module.RNNCell(D, H, nonlinearity="gelu")(X[0])


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_of_one_layer_is_warned_of(name: str) -> None:
    message = r"dropout=0\.5 acts between layers, and there is one layer only"
    with pytest.warns(UserWarning, match=message) as caught:
        getattr(carousel, name)(D, H, dropout=0.5)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="dropout"):
        getattr(nn, name)(D, H, dropout=0.5)


INPUTS = [
    (zeros(D), ValueError, "{} expects input of 2 or 3 axes, got 1"),
    (zeros(1, T, B, D), ValueError, "{} expects input of 2 or 3 axes, got 4"),
    (zeros(T, B, D + 1), RuntimeError, "input has 5 features, the layer expects 4"),
    (zeros(0, B, D), RuntimeError, "input has no time steps; it needs at least 1"),
    (
        X.double(),
        ValueError,
        "input is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    (X.long(), ValueError, "input is torch.int64, the layer torch.float32; convert one by .to()"),
    (X.to("meta"), RuntimeError, "input is on meta, the layer on cpu; move one by .to()"),
]


@pytest.mark.parametrize(("x", "kind", "message"), INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_inputs_as_torch_does(
    name: str, x: Tensor, kind: type[Exception], message: str
) -> None:
    theirs, ours = twins(name, D, H, L)
    refused(lambda: ours(x), kind, message.format(name))
    with pytest.raises(kind):
        theirs(x)


NEEDED = "h_0 has shape {}; this layer and input need (2, 3, 6)"
STATES = [
    (X, zeros(L, 1, H), RuntimeError, NEEDED.format("(2, 1, 6)")),
    (X, zeros(L, H), RuntimeError, NEEDED.format("(2, 6)")),
    (X, zeros(1, L, B, H), RuntimeError, NEEDED.format("(1, 2, 3, 6)")),
    (
        X[:, 0],
        zeros(L, 1, H),
        RuntimeError,
        "h_0 has shape (2, 1, 6); this layer and input need (2, 6)",
    ),
    (
        X[:, 0],
        zeros(1, H),
        RuntimeError,
        "h_0 has shape (1, 6); this layer and input need (2, 6)",
    ),
    (
        X,
        zeros(L, B, H, dtype=torch.float64),
        RuntimeError,
        "h_0 is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    (
        X,
        zeros(L, B, H, device="meta"),
        RuntimeError,
        "h_0 is on meta, the layer on cpu; move one by .to()",
    ),
    (
        pack_padded_sequence(X, torch.tensor([5, 3, 2])),
        zeros(L, 1, H),
        RuntimeError,
        NEEDED.format("(2, 1, 6)"),
    ),
    (
        pack_padded_sequence(X, torch.tensor([2, 5, 3]), enforce_sorted=False),
        zeros(L, 1, H),
        RuntimeError,
        NEEDED.format("(2, 1, 6)"),
    ),
]


@pytest.mark.parametrize(("x", "h", "kind", "message"), STATES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_states_as_torch_does(
    name: str, x: Any, h: Tensor, kind: type[Exception], message: str
) -> None:
    theirs, ours = twins(name, D, H, L)
    refused(lambda: ours(x, states(name, h)), kind, message)
    with pytest.raises(kind):
        theirs(x, states(name, h))


def test_the_cell_state_is_looked_at_too() -> None:
    theirs, ours = twins("LSTM", D, H, L, proj_size=P)
    h = zeros(L, B, P)
    for c in (zeros(B, H), zeros(L, 1, H), zeros(L, B, P), zeros(L, B, H).double()):
        with pytest.raises(RuntimeError, match=r"^c_0 "):
            ours(X, (h, c))
        with pytest.raises(RuntimeError):
            theirs(X, (h, c))


def test_a_packed_state_is_never_cut_to_size() -> None:
    """torch takes the rows that the packing asks for, and says nothing of the others."""
    packed = pack_padded_sequence(X, torch.tensor([2, 5, 3]), enforce_sorted=False)
    for name in LAYERS:
        h = states(name, zeros(L, B + 2, H))
        refused(
            lambda n=name, h=h: twins(n, D, H, L)[1](packed, h),
            RuntimeError,
            NEEDED.format("(2, 5, 6)"),
        )


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (pack_padded_sequence(zeros(T, B, D + 1), torch.tensor([5, 3, 2])), "input has 5 features"),
        (PackedSequence(zeros(10, 1, D), torch.tensor([3, 3, 2, 1, 1])), "must have 2 axes, got 3"),
        (PackedSequence(zeros(9, D), torch.tensor([3, 3, 2, 1, 1])), "has 9 rows and batch_sizes"),
        (PackedSequence(zeros(5, D), torch.tensor([2, 3])), "has 5 rows and batch_sizes [2, 3]"),
    ],
)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_packed_batches_as_torch_does(name: str, packed: Any, message: str) -> None:
    theirs, ours = twins(name, D, H, L)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        ours(packed)
    with pytest.raises(RuntimeError):
        theirs(packed)


@pytest.mark.parametrize("name", LAYERS)
def test_a_packed_batch_of_another_type_is_refused_as_by_torch(name: str) -> None:
    theirs, ours = twins(name, D, H, L)
    packed = pack_padded_sequence(X.double(), torch.tensor([5, 3, 2]))
    kind = RuntimeError if name == "LSTM" else ValueError
    message = "input is torch.float64, the layer torch.float32; convert one by .to()"
    refused(lambda: ours(packed), kind, message)
    with pytest.raises(kind):
        theirs(packed)


def test_a_packed_batch_without_time_is_refused() -> None:
    _, ours = twins("GRU", D, H)
    packed = PackedSequence(zeros(0, D), torch.zeros(0, dtype=torch.int64))
    message = "the packed input has no time steps; it needs at least 1"
    refused(lambda: ours(packed), RuntimeError, message)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_tensor_is_refused(name: str) -> None:
    """Where torch stumbles over a missing attribute, or takes a tensor apart."""
    _, ours = twins(name, D, H, L)
    refused(lambda: ours([1.0]), TypeError, f"{name} expects a tensor as input, got list")
    pair = "hx must be the pair (h_0, c_0), got"
    if name == "LSTM":
        refused(lambda: ours(X, zeros(2, L, B, H)), TypeError, f"{pair} Tensor")
        refused(lambda: ours(X, (X, None)), TypeError, f"{pair} NoneType in it")
        for count in (1, 3):
            h = (zeros(L, B, H),) * count
            refused(lambda h=h: ours(X, h), RuntimeError, f"{pair} {len(h)} of them")
    else:
        refused(lambda: ours(X, (zeros(L, B, H),)), TypeError, "hx must be a tensor, got tuple")


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_autocast_converts_neither_ids_nor_doubles(name: str, dtype: torch.dtype) -> None:
    theirs, ours = twins(name, D, H, L)
    with torch.autocast("cpu", torch.bfloat16):
        message = f"input is {dtype}, the layer torch.float32; autocast converts neither"
        refused(lambda: ours(X.to(dtype)), RuntimeError, message)
        with pytest.raises(RuntimeError):
            theirs(X.to(dtype))
