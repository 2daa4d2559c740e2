"""carousel.LSTM in the place of torch.nn.LSTM: the same numbers, states, names and refusals."""

import copy
import inspect
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import carousel
from closeness import assert_near

T, B, D, H, L = 5, 3, 4, 6, 2  # all different: a swapped axis cannot pass unseen
BACKENDS = ("auto", "bptt", "autograd")
Tensors = dict[str, Tensor]
States = tuple[Tensor, Tensor]


def twins(*sizes: int, backend: str = "auto", **options: Any) -> tuple[nn.LSTM, carousel.LSTM]:
    """A torch.nn.LSTM with every parameter random and wide, and ours with the same ones."""
    torch.manual_seed(0)
    theirs = nn.LSTM(*sizes, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = carousel.LSTM(*sizes, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def double(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def results(layer: nn.Module, x: Tensor, hx: States | None = None) -> Tensors:
    """Output, last states, and the gradients of a random weighted sum of them to everything."""
    torch.manual_seed(0)  # of the dropout masks
    y, (h_n, c_n) = layer(x, hx)
    inputs = {"x": x, **dict(zip(("h_0", "c_0"), hx or (), strict=False))}
    return with_gradients(layer, {"y": y, "h_n": h_n, "c_n": c_n}, inputs)


def with_gradients(layer: nn.Module, outputs: Tensors, inputs: Tensors) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(o.shape, generator=generator).to(o.dtype) * o).sum() for o in outputs.values()
    )
    inputs = inputs | {name: p for name, p in layer.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    return outputs | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


@st.composite
def cases(draw: st.DrawFn) -> tuple[nn.LSTM, carousel.LSTM, Tensor, States | None]:
    """Twins of random settings, an input, and an initial state or none."""
    steps, batch, features, hidden = (draw(st.integers(1, 7)) for _ in range(4))
    layers = draw(st.integers(1, 3))
    batch_first, is_batched, is_training = (draw(st.booleans()) for _ in range(3))
    theirs, ours = twins(
        features,
        hidden,
        layers,
        bias=draw(st.booleans()),
        batch_first=batch_first,
        dropout=draw(st.sampled_from([0.0, 0.3])) if layers > 1 else 0.0,
        dtype=torch.float64,
        backend=draw(st.sampled_from(BACKENDS)),
    )
    rows = (batch,) if is_batched else ()
    x = double(*rows, steps, features) if batch_first else double(steps, *rows, features)
    hx = (double(layers, *rows, hidden), double(layers, *rows, hidden))
    given_hx = hx if draw(st.booleans()) else None
    return theirs.train(is_training), ours.train(is_training), x, given_hx


@settings(max_examples=200, deadline=None, derandomize=True)
@given(cases())
def test_matches_torch(case: tuple[nn.LSTM, carousel.LSTM, Tensor, States | None]) -> None:
    """With dropout too: from the same seed torch draws the same masks."""
    theirs, ours, x, hx = case
    assert_near(results(ours, x, hx), results(theirs, x, hx))


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"bias": False}])
@pytest.mark.parametrize("backend", BACKENDS)
def test_matches_torch_in_single_precision(backend: str, options: dict[str, Any]) -> None:
    """There torch runs oneDNN's recurrence. At odd sizes: a lone number may cancel to nothing."""
    theirs, ours = twins(D, H, L, backend=backend, **options)
    x, h_0, c_0 = (double(*sizes).float() for sizes in ((T, B, D), (L, B, H), (L, B, H)))
    hx = (h_0, c_0)
    assert_near(results(ours, x, hx), results(theirs, x, hx))


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_give_the_same_numbers(backend: str) -> None:
    _, ours = twins(D, H, L, dropout=0.3, dtype=torch.float64)
    x, hx = double(T, B, D), (double(L, B, H), double(L, B, H))
    want = results(ours, x, hx)
    ours.backend = backend
    assert_near(results(ours, x, hx), want)


def test_one_step_at_a_time_is_the_whole() -> None:
    _, ours = twins(D, H, L, batch_first=True, dtype=torch.float64)
    x, hx = double(B, T, D), (double(L, B, H), double(L, B, H))
    outputs, state = [], hx
    for piece in x.split(1, dim=1):
        y, state = ours(piece, state)
        outputs.append(y)
    pieces = {"y": torch.cat(outputs, dim=1), "h_n": state[0], "c_n": state[1]}
    inputs = {"x": x, "h_0": hx[0], "c_0": hx[1]}
    assert_near(with_gradients(ours, pieces, inputs), results(ours, x, hx))


def test_no_state_is_the_zero_state() -> None:
    _, ours = twins(D, H, L, dtype=torch.float64)
    x, zeros = double(T, B, D), torch.zeros(L, B, H, dtype=torch.float64)
    torch.testing.assert_close(ours(x), ours(x, (zeros, zeros)), rtol=0, atol=0)


def test_one_sequence_alone_is_a_batch_of_one() -> None:
    _, ours = twins(D, H, L, batch_first=True, dtype=torch.float64)
    x, hx = double(T, D), (double(L, H), double(L, H))
    y, (h_n, c_n) = ours(x[None], tuple(s[:, None] for s in hx))
    want = (y[0], (h_n[:, 0], c_n[:, 0]))
    torch.testing.assert_close(ours(x, hx), want, rtol=0, atol=0)


def test_an_empty_batch_has_an_empty_answer() -> None:
    theirs, ours = twins(D, H, L)
    x = torch.randn(T, 0, D, requires_grad=True)
    assert_near(results(ours, x), results(theirs, x))


def test_dropout_leaves_the_last_layer_alone() -> None:
    _, ours = twins(D, H, L, dropout=1.0, dtype=torch.float64)
    y, (h_n, _) = ours(double(T, B, D))
    other, (other_h_n, _) = ours(double(T, B, D))
    assert (y != 0).all()
    assert torch.equal(y, other)  # the last layer has met nothing of its input
    assert not torch.equal(h_n[0], other_h_n[0])
    torch.testing.assert_close(y[-1], h_n[-1], rtol=0, atol=0)


def test_dropout_is_drawn_while_training_only() -> None:
    _, ours = twins(D, H, L, dropout=0.5, dtype=torch.float64)
    _, without = twins(D, H, L, dtype=torch.float64)
    x = double(T, B, D)
    assert not torch.equal(ours(x)[0], ours(x)[0])
    assert torch.equal(ours.eval()(x)[0], without(x)[0])


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 3}, {"num_layers": 2, "bias": False}, {"dtype": torch.float64}]
)
def test_the_same_seed_gives_torchs_initial_parameters(options: dict[str, Any]) -> None:
    torch.manual_seed(7)
    theirs = nn.LSTM(D, H, **options).state_dict()
    torch.manual_seed(7)
    ours = carousel.LSTM(D, H, **options).state_dict()
    assert list(ours) == list(theirs)
    assert_near(ours, theirs, 0.0)


def test_a_state_dict_moves_both_ways() -> None:
    theirs, ours = nn.LSTM(D, H, L), carousel.LSTM(D, H, L)
    x = torch.randn(T, B, D, requires_grad=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_near(results(ours, x), results(theirs, x))
    ours.reset_parameters()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert_near(results(ours, x), results(theirs, x))


def test_positional_arguments_and_defaults_are_torchs() -> None:
    parameters = inspect.signature(nn.RNNBase.__init__).parameters.values()
    theirs = [(p.name, p.default) for p in parameters if p.name not in ("self", "mode")]
    ours = inspect.signature(carousel.LSTM).parameters.values()
    positional = [(p.name, p.default) for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == theirs[: len(positional)]
    assert list(inspect.signature(carousel.LSTM.forward).parameters) == ["self", "input", "hx"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "dropout": 0.5},
        {"bias": False},
        {"batch_first": True, "num_layers": 3},
    ],
)
def test_repr_is_torchs(options: dict[str, Any]) -> None:
    assert repr(carousel.LSTM(D, H, **options)) == repr(nn.LSTM(D, H, **options))
    assert repr(carousel.LSTM(D, H, backend="bptt")) == f"LSTM({D}, {H}, backend='bptt')"


def test_a_deep_copy_lives_its_own_life() -> None:
    _, ours = twins(D, H, L, dtype=torch.float64)
    x = double(T, B, D)
    want = results(ours, x)
    twin = copy.deepcopy(ours)
    assert_near(results(twin, x), want, 0.0)
    nn.init.zeros_(twin.weight_hh_l1)
    assert_near(results(ours, x), want, 0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 0.05)])
def test_to_another_precision(dtype: torch.dtype, tolerance: float) -> None:
    _, ours = twins(D, H, L)
    x = torch.randn(T, B, D, requires_grad=True)
    want = {name: tensor.to(dtype) for name, tensor in results(ours, x).items()}
    assert_near(results(ours.to(dtype), x.detach().to(dtype).requires_grad_()), want, tolerance)


def test_on_the_meta_device_it_tells_shapes_only() -> None:
    layer = carousel.LSTM(D, H, L, device="meta")
    y, (h_n, c_n) = layer(torch.empty(T, B, D, device="meta"))
    assert (y.shape, h_n.shape, c_n.shape) == ((T, B, H), (L, B, H), (L, B, H))
    assert y.is_meta


def test_a_weight_may_be_computed() -> None:
    theirs, ours = (weight_norm(layer, "weight_hh_l1") for layer in twins(D, H, L))
    x = torch.randn(T, B, D, requires_grad=True)
    assert_near(results(ours, x), results(theirs, x))


def test_flatten_parameters_may_be_called() -> None:
    _, ours = twins(D, H)
    before = copy.deepcopy(ours.state_dict())
    ours.flatten_parameters()
    assert_near(ours.state_dict(), before, 0.0)


X = torch.zeros(T, B, D)


def state(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(D),), "LSTM expects input of 2 or 3 axes, got 1"),
        ((torch.zeros(T, B, D + 1),), "input has 5 features, the layer expects 4"),
        ((torch.zeros(0, B, D),), "input has no time steps; it needs at least 1"),
        ((X.double(),), "input is torch.float64, the layer torch.float32; convert one by .to()"),
        ((X.long(),), "input is torch.int64, the layer torch.float32; convert one by .to()"),
        (
            (X, (state(L, 1, H), state(L, B, H))),
            "h_0 has shape (2, 1, 6); this layer and input need (2, 3, 6)",
        ),
        (
            (X, (state(L, B, H), state(B, H))),
            "c_0 has shape (3, 6); this layer and input need (2, 3, 6)",
        ),
        (
            (X[:, 0], (state(L, 1, H), state(L, 1, H))),
            "h_0 has shape (2, 1, 6); this layer and input need (2, 6)",
        ),
        (
            (X, (state(L, B, H), state(L, B, H, dtype=torch.float64))),
            "c_0 is torch.float64, the layer torch.float32; convert one by .to()",
        ),
        ((X, state(2, L, B, H)), "hx must be the pair (h_0, c_0)"),
        ((X, (state(L, B, H),)), "hx must be the pair (h_0, c_0)"),
    ],
)
def test_refuses_at_a_call(arguments: tuple[Any, ...], message: str) -> None:
    theirs, ours = twins(D, H, L)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ours(*arguments)
    with pytest.raises((ValueError, RuntimeError, TypeError, IndexError)):
        theirs(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "input_size must be at least 1, got 0"),
        ({"hidden_size": -1}, "hidden_size must be at least 1, got -1"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dropout": 1.5}, "dropout must be a probability in [0, 1], got 1.5"),
        ({"dropout": float("nan")}, "dropout must be a probability in [0, 1], got nan"),
        ({"dropout": True}, "dropout must be a probability in [0, 1], got True"),
        (
            {"backend": "cudnn"},
            "backend must be one of ('auto', 'autograd', 'bptt'), got 'cudnn'",
        ),
    ],
)
def test_refuses_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        carousel.LSTM(**({"input_size": D, "hidden_size": H} | options))


def test_dropout_of_one_layer_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"dropout=0\.5 acts between layers, and there is one"):
        carousel.LSTM(D, H, dropout=0.5)
