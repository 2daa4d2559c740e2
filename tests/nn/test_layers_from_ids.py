"""Layers from ids: what forward makes of their embedding, by fewer products."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from twins import B, D, H, States, T, Tensors, called, each_variant, made, state_for, with_gradients

import carousel
from assertions import assert_near
from carousel.nn.embedding import Embedding
from carousel.nn.embedding_input import TokenInput
from carousel.nn.regularization import NO_REGULARIZATION, Regularization

V = 7  # fewer than the T · B places
IDS = torch.randint(-1, V, (T, B), generator=torch.Generator().manual_seed(1))
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def embedding(tokens: int = V, dtype: torch.dtype = torch.float64) -> Embedding:
    torch.manual_seed(2)
    return Embedding(tokens, D).to(dtype)


def by_both_ways(
    layer: Any, ids: Tensor, state: States | None = None, tokens: int = V
) -> tuple[Tensors, Tensors]:
    """Outputs, last states and all gradients: from ids, and of their embedding."""
    e = embedding(tokens, layer.weight_ih_l0.dtype)
    leaves = dict(zip(("h_0", "c_0"), state or (), strict=False))
    found = []
    for read in (lambda ids, hx: layer(TokenInput(ids, e), hx), lambda ids, hx: layer(e(ids), hx)):
        torch.manual_seed(0)  # of the dropout masks
        outputs = called(read, ids, state)
        found.append(with_gradients(nn.ModuleList([e, layer]), outputs, leaves))
    return found[0], found[1]


@pytest.mark.parametrize("backend", ["bptt", "autograd"])
@pytest.mark.parametrize("is_training", [False, True], ids=["out of training", "training"])
@each_variant
def test_from_ids_is_forward_of_their_embedding(
    variant: str, is_training: bool, backend: str
) -> None:
    layer = made(variant, backend=backend).train(is_training)
    assert_near(*by_both_ways(layer, IDS, state_for(layer, B)))


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_every_form_of_layer_reads_ids(
    name: str, bidirectional: bool, batch_first: bool, bias: bool
) -> None:
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    layer = made(name, **options)
    ids = IDS.T if batch_first else IDS
    assert_near(*by_both_ways(layer, ids))
    assert_near(*by_both_ways(layer, ids, state_for(layer, B)))
    got, want = by_both_ways(layer, IDS[:, 0])  # one sequence alone
    assert_near(got, want)


@settings(max_examples=25)
@given(
    ids=st.integers(1, 4).flatmap(
        lambda b: st.lists(
            st.lists(st.integers(-1, V - 1), min_size=b, max_size=b), min_size=1, max_size=6
        )
    )
)
def test_whatever_stands_where(ids: list[list[int]]) -> None:
    layer = made("LSTM")
    assert_near(*by_both_ways(layer, torch.tensor(ids)))


def test_no_token_is_the_zero_vector() -> None:
    layer = made("GRU")
    nothing = torch.full((T, B), -1)
    y, _ = layer(TokenInput(nothing, embedding()))
    want, _ = layer(torch.zeros(T, B, D, dtype=torch.float64))
    assert_near({"y": y}, {"y": want})


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_single_precision_is_as_near_as_ever(name: str) -> None:
    assert_near(*by_both_ways(made(name).float(), IDS))


def test_autocast_changes_no_more_than_it_does_to_features() -> None:
    layer = made("LSTM").float()
    want = by_both_ways(layer, IDS)[1]
    with torch.autocast("cpu", torch.bfloat16):
        got = by_both_ways(layer, IDS)[0]
    assert_near({name: d.float() for name, d in got.items()}, want, 2e-2)


@pytest.mark.parametrize("name", GATES)
def test_the_products_of_the_input_are_those_of_the_vocabulary(name: str) -> None:
    """Forward and back: 6 D G for every place, or for every token and no token."""
    layer, e = made(name, backend="bptt"), embedding()
    flops = []
    for read in (lambda: layer(TokenInput(IDS, e)), lambda: layer(e(IDS))):
        with FlopCounterMode(display=False) as counter:
            y, _ = read()
            y.sum().backward()
        flops.append(counter.get_total_flops())
    assert flops[1] - flops[0] == 6 * (T * B - (1 + V)) * D * GATES[name] * H


@pytest.mark.parametrize(
    ("tokens", "shape", "regularization", "is_training", "is_table"),
    [
        (T * B, (T, B), NO_REGULARIZATION, True, True),
        (T * B + 1, (T, B), NO_REGULARIZATION, True, False),  # few places: Chinese in a small batch
        (2, (1, 1), NO_REGULARIZATION, False, False),  # one character at a time
        (V, (T, B), Regularization(variational_dropout=0.5), True, False),
        (V, (T, B), Regularization(variational_dropout=0.5), False, True),
        (V, (T, B), Regularization(zoneout=0.5, recurrent_dropout=0.5), True, True),
        (V, (T * B,), NO_REGULARIZATION, True, False),  # one sequence alone
    ],
)
def test_a_table_is_made_where_it_pays(
    tokens: int,
    shape: tuple[int, ...],
    regularization: Regularization,
    is_training: bool,
    is_table: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = carousel.LSTM(D, H, **regularization._asdict()).train(is_training)
    ids, read = torch.zeros(shape, dtype=torch.int64), []
    monkeypatch.setattr(Embedding, "forward", lambda e, ids: read.append(ids) or e.weight[ids])
    layer(TokenInput(ids, Embedding(tokens, D)))
    assert (not read) == is_table


@pytest.mark.parametrize("tokens", [V, T * B + 1], ids=["table", "features"])
def test_what_does_not_fit_is_refused_by_either_way(tokens: int) -> None:
    layer, e = made("LSTM").float(), embedding(tokens, torch.float32)
    for ids, kind, message in (
        ([[0]], TypeError, "ids must be a tensor, got list"),
        (IDS.double(), TypeError, "ids must be of type int64 or int32, got torch.float64"),
        (IDS > 0, TypeError, "ids must be of type int64 or int32, got torch.bool"),
        (IDS[None], ValueError, "LSTM expects input of 2 or 3 axes, got 4"),
        (IDS[:0], RuntimeError, "input has no time steps"),
        (IDS.fill_diagonal_(0) + tokens, IndexError, r"out of (range|bounds)|outside the table"),
    ):
        with pytest.raises(kind, match=message):
            layer(TokenInput(ids, e))
    with pytest.raises(ValueError, match=r"input is torch.float64, the layer torch.float32"):
        layer(TokenInput(IDS, e.double()))
    with pytest.raises(RuntimeError, match="input has 5 features, the layer expects 4"):
        layer(TokenInput(IDS, Embedding(tokens, D + 1)))
    state = torch.zeros(1, B + 1, H), torch.zeros(1, B, H)
    with pytest.raises(RuntimeError, match="h_0 has shape"):
        layer(TokenInput(IDS, embedding(tokens, torch.float32)), state)


def test_a_second_derivative_is_refused() -> None:
    layer, e = made("LSTM", backend="bptt"), embedding()
    y, _ = layer(TokenInput(IDS, e))
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(y.sum(), e.weight, create_graph=True)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_the_method_of_before_warns_and_gives_the_same(name: str) -> None:
    layer, e = made(name), embedding()
    want, _ = layer(TokenInput(IDS, e))
    with pytest.warns(DeprecationWarning, match=f"{name}.from_ids is deprecated.*TokenInput"):
        got, _ = layer.from_ids(IDS, e)
    assert torch.equal(got, want)
