"""What users of a torch.nn layer rely on beside its numbers: names, arguments, copies, types."""

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence
from twins import (
    BACKENDS,
    CELLS,
    LAYERS,
    B,
    D,
    H,
    L,
    P,
    T,
    Tensors,
    called,
    normal,
    results,
    state_for,
    twins,
    with_gradients,
)

import carousel
from assertions import assert_near

SHARED = [
    {},
    {"num_layers": 3},
    {"num_layers": 2, "bias": False},
    {"batch_first": True, "num_layers": 3, "dropout": 0.5},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "dtype": torch.float64},
]
VARIANTS = [(name, options) for name in LAYERS for options in SHARED]
VARIANTS += [("RNN", {"nonlinearity": "relu"})]
VARIANTS += [("LSTM", {"proj_size": P}), ("LSTM", {"proj_size": P, "num_layers": 2, "bias": False})]
VARIANTS += [("LSTM", {"proj_size": P, "num_layers": 2, "bidirectional": True})]
VARIANTS += [(name, options) for name in CELLS for options in ({}, {"bias": False})]
VARIANTS += [("RNNCell", {"nonlinearity": "relu", "dtype": torch.float64})]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_the_same_seed_gives_torchs_initial_parameters(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(7)
    theirs = getattr(nn, name)(D, H, **options).state_dict()
    torch.manual_seed(7)
    ours = getattr(carousel, name)(D, H, **options)
    assert list(ours.state_dict()) == list(theirs)
    assert_near(ours.state_dict(), theirs, 0.0)
    torch.manual_seed(7)
    ours.reset_parameters()
    assert_near(ours.state_dict(), theirs, 0.0)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_repr_and_attributes_are_torchs(name: str, options: dict[str, Any]) -> None:
    theirs, ours = getattr(nn, name)(D, H, **options), getattr(carousel, name)(D, H, **options)
    assert repr(ours) == repr(theirs)
    public = {key for key in theirs.__dict__ if not key.startswith("_")}
    assert {"input_size", "hidden_size", "bias"} <= public
    assert {key: getattr(ours, key) for key in public} == {k: getattr(theirs, k) for k in public}


def test_repr_shows_what_torch_lacks() -> None:
    layer = carousel.LSTM(D, H, peephole=True, zoneout=0.1, recurrent_dropout=0.2, backend="bptt")
    regularization = "peephole=True, zoneout=0.1, recurrent_dropout=0.2, backend='bptt'"
    assert repr(layer) == f"LSTM({D}, {H}, {regularization})"
    layer = carousel.LSTM(D, H, 2, forget_gate=False, variational_dropout=0.3)
    assert (
        repr(layer) == f"LSTM({D}, {H}, num_layers=2, forget_gate=False, variational_dropout=0.3)"
    )
    assert repr(carousel.LSTM(D, H, coupled=True)) == f"LSTM({D}, {H}, coupled=True)"
    assert repr(carousel.LSTM(D, H, layer_norm=True)) == f"LSTM({D}, {H}, layer_norm=True)"
    assert repr(carousel.GRU(D, H, reset_after=False)) == f"GRU({D}, {H}, reset_after=False)"
    assert repr(carousel.GRUCell(D, H, backend="bptt")) == f"GRUCell({D}, {H}, backend='bptt')"


POSITIONAL = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
POSITIONAL += ["bidirectional", "device", "dtype"]  # as torch documents them


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_positional_arguments_and_defaults_are_torchs(name: str) -> None:
    ours = inspect.signature(getattr(carousel, name)).parameters.values()
    positional = [(p.name, p.default) for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    if name in CELLS:
        theirs = inspect.signature(getattr(nn, name)).parameters.values()
        assert positional == [(p.name, p.default) for p in theirs]
    else:
        documented = POSITIONAL.copy()
        if name == "RNN":
            documented.insert(3, "nonlinearity")
        if name == "LSTM":
            documented.insert(7, "proj_size")
        base = inspect.signature(nn.RNNBase.__init__).parameters
        defaults = {p.name: p.default for p in base.values()} | {"nonlinearity": "tanh"}
        assert positional == [(key, defaults[key]) for key in documented]
    forward = inspect.signature(getattr(carousel, name).forward).parameters
    assert list(forward) == ["self", "input", "hx"]


@pytest.mark.parametrize("name", LAYERS)
def test_positional_arguments_arrive(name: str) -> None:
    own = {"RNN": ("relu",), "GRU": (), "LSTM": ()}[name]
    projection = (P,) if name == "LSTM" else ()
    arguments = (D, H, L, *own, False, True, 0.3, True, *projection)
    theirs, ours = getattr(nn, name)(*arguments), getattr(carousel, name)(*arguments, "meta")
    assert repr(ours) == repr(theirs)
    assert {n: p.shape for n, p in ours.state_dict().items()} == {
        n: p.shape for n, p in theirs.state_dict().items()
    }
    assert all(p.is_meta for p in ours.parameters())


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_a_state_dict_moves_both_ways(name: str) -> None:
    theirs, ours = getattr(nn, name)(D, H), getattr(carousel, name)(D, H)
    x = torch.randn(B, D)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.testing.assert_close(ours(x), theirs(x))
    ours.reset_parameters()
    assert not torch.equal(ours(x)[0], theirs(x)[0])
    theirs.load_state_dict(ours.state_dict(), strict=True)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", LAYERS)
def test_all_weights_are_the_parameters_by_layer_and_direction(name: str) -> None:
    theirs, ours = twins(name, D, H, L, bidirectional=True)
    assert len(ours.all_weights) == len(theirs.all_weights) == 2 * L
    for own, other in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))
    assert ours.all_weights[1][0] is ours.weight_ih_l0_reverse


@pytest.mark.parametrize("name", LAYERS)
def test_flatten_parameters_may_be_called(name: str) -> None:
    _, ours = twins(name, D, H)
    before = copy.deepcopy(ours.state_dict())
    ours.flatten_parameters()
    assert_near(ours.state_dict(), before, 0.0)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_give_the_same_numbers(name: str, backend: str) -> None:
    _, ours = twins(name, D, H, L, dropout=0.3, bidirectional=True, dtype=torch.float64)
    x, state = normal(T, B, D), state_for(ours, B)
    want = results(ours, x, state)
    ours.backend = backend
    assert_near(results(ours, x, state), want)


@pytest.mark.parametrize("name", LAYERS)
def test_no_state_is_the_zero_state(name: str) -> None:
    _, ours = twins(name, D, H, L, dtype=torch.float64)
    x = normal(T, B, D)
    zeros = tuple(torch.zeros_like(part) for part in state_for(ours, B))
    assert_near(called(ours, x), called(ours, x, zeros), 0.0)


@pytest.mark.parametrize("name", LAYERS)
def test_one_sequence_alone_is_a_batch_of_one(name: str) -> None:
    _, ours = twins(name, D, H, L, batch_first=True, dtype=torch.float64)
    x, state = normal(T, D), state_for(ours)
    got = called(ours, x, state)
    batch = called(ours, x[None], tuple(part[:, None] for part in state))
    want = {n: t[0] if n == "y" else t[:, 0] for n, t in batch.items()}
    assert_near(got, want)


@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_has_an_empty_answer(name: str) -> None:
    theirs, ours = twins(name, D, H, L)
    x = torch.randn(T, 0, D, requires_grad=True)
    assert_near(results(ours, x), results(theirs, x))


def test_a_pair_of_states_may_be_a_list() -> None:
    _, ours = twins("LSTM", D, H, L, dtype=torch.float64)
    x, state = normal(T, B, D), state_for(ours, B)
    torch.testing.assert_close(ours(x, list(state)), ours(x, state), rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_a_packed_batch_keeps_its_packing(name: str) -> None:
    theirs, ours = twins(name, D, H, bidirectional=True)
    in_order = [torch.randn(n, D) for n in (5, 2, 4)]
    for packed in (
        pack_sequence(in_order, enforce_sorted=False),
        pack_sequence(sorted(in_order, key=len, reverse=True)),
        pack_padded_sequence(torch.randn(T, B, D), torch.tensor([T] * B)),
    ):
        (y, _), (want, _) = ours(packed), theirs(packed)
        assert type(y) is type(want)
        assert y.batch_sizes is packed.batch_sizes
        assert y.sorted_indices is packed.sorted_indices
        assert y.unsorted_indices is packed.unsorted_indices
        torch.testing.assert_close(y.data, want.data)


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_leaves_the_last_layer_alone(name: str) -> None:
    _, ours = twins(name, D, H, L, dropout=1.0, dtype=torch.float64)
    got, other = called(ours, normal(T, B, D)), called(ours, normal(T, B, D))
    assert (got["y"] != 0).all()
    assert torch.equal(got["y"], other["y"])  # the last layer has met nothing of its input
    assert not torch.equal(got["h_n"][0], other["h_n"][0])
    torch.testing.assert_close(got["y"][-1], got["h_n"][-1], rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_is_drawn_while_training_only(name: str) -> None:
    _, ours = twins(name, D, H, L, dropout=0.5, dtype=torch.float64)
    _, without = twins(name, D, H, L, dtype=torch.float64)
    x = normal(T, B, D)
    assert not torch.equal(ours(x)[0], ours(x)[0])
    assert torch.equal(ours.eval()(x)[0], without(x)[0])


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_copies_live_their_own_life(name: str) -> None:
    _, ours = twins(name, D, H, dtype=torch.float64)
    x = normal(B, D)

    def outcome(layer: nn.Module) -> Tensors:
        y = layer(x)
        h = y if isinstance(y, Tensor) else y[0]
        return with_gradients(layer, {"h": h}, {"x": x})

    want = outcome(ours)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_near(outcome(twin), want, 0.0)
        assert repr(twin) == repr(ours)
        for parameter in twin.parameters():
            nn.init.zeros_(parameter)
        assert_near(outcome(ours), want, 0.0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.bfloat16, 0.05), (torch.float16, 0.01)],
    ids=str,
)
@pytest.mark.parametrize("name", LAYERS)
def test_to_another_precision(name: str, dtype: torch.dtype, tolerance: float) -> None:
    _, ours = twins(name, D, H, L, bidirectional=True)
    x = torch.randn(T, B, D, requires_grad=True)
    want = {key: tensor.to(dtype) for key, tensor in results(ours, x).items()}
    assert_near(results(ours.to(dtype), x.detach().to(dtype).requires_grad_()), want, tolerance)


@pytest.mark.parametrize("name", LAYERS)
def test_on_the_meta_device_it_tells_shapes_only(name: str) -> None:
    layer = getattr(carousel, name)(D, H, L, device="meta", bidirectional=True)
    got = called(layer, torch.empty(T, B, D, device="meta"))
    assert got.pop("y").shape == (T, B, 2 * H)
    assert all(part.shape == (2 * L, B, H) and part.is_meta for part in got.values())
    packed = pack_padded_sequence(torch.empty(T, B, D, device="meta"), torch.tensor([5, 3, 1]))
    assert layer(packed)[0].data.shape == (9, 2 * H)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_a_weight_may_be_computed(name: str) -> None:
    weight = "weight_hh" if name in CELLS else "weight_hh_l1"
    sizes = (D, H) if name in CELLS else (D, H, L)
    theirs, ours = (weight_norm(layer, weight) for layer in twins(name, *sizes))
    x = torch.randn(B, D)
    for layer in (theirs, ours):
        y = layer(x)
        (y if isinstance(y, torch.Tensor) else y[0]).square().sum().backward()
    got, want = ({n: p.grad for n, p in layer.named_parameters()} for layer in (ours, theirs))
    assert_near(got, want)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_parameters_may_be_handed_in(name: str) -> None:
    theirs, ours = twins(name, D, H)
    other = {key: torch.randn_like(p) for key, p in ours.named_parameters()}
    x = torch.randn(B, D)
    got, want = (torch.func.functional_call(layer, other, (x,)) for layer in (ours, theirs))
    torch.testing.assert_close(got, want)
