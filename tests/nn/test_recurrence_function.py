"""The autograd.Function under every recurrent layer: what autograd may do with it, and memory."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from twins import each_variant, made

import carousel
from assertions import assert_near

T, B, D, H, L = 5, 3, 4, 6, 2


@pytest.fixture
def layer() -> carousel.LSTM:
    torch.manual_seed(0)
    return carousel.LSTM(D, H, L, dtype=torch.float64, backend="bptt")


@pytest.fixture
def x() -> Tensor:
    return torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)


def torchs(layer: carousel.LSTM) -> nn.LSTM:
    theirs = nn.LSTM(layer.input_size, layer.hidden_size, layer.num_layers, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())
    return theirs


def gradients(loss: Tensor, layer: nn.Module, x: Tensor, **how: bool) -> dict[str, Tensor]:
    wanted = {"x": x, **dict(layer.named_parameters())}
    grads = torch.autograd.grad(loss, list(wanted.values()), **how)
    return dict(zip(wanted, grads, strict=True))


def test_any_output_alone_may_be_differentiated(layer: carousel.LSTM, x: Tensor) -> None:
    theirs = torchs(layer)
    for pick in (lambda y, s: y[2], lambda y, s: s[0], lambda y, s: s[1][0]):
        got = gradients(pick(*layer(x)).sum(), layer, x, materialize_grads=True)
        want = gradients(pick(*theirs(x)).sum(), theirs, x, materialize_grads=True)
        assert_near(got, want)


def test_two_forwards_before_one_backward(layer: carousel.LSTM, x: Tensor) -> None:
    theirs, other = torchs(layer), torch.randn(T + 2, B, D, dtype=torch.float64)
    got = gradients(layer(x)[0].sum() + layer(other)[0].square().sum(), layer, x)
    want = gradients(theirs(x)[0].sum() + theirs(other)[0].square().sum(), theirs, x)
    assert_near(got, want)


def test_a_layer_may_feed_itself() -> None:
    layer = carousel.LSTM(H, H, L, dtype=torch.float64)
    x = torch.randn(T, B, H, dtype=torch.float64, requires_grad=True)
    theirs = torchs(layer)
    got = gradients(layer(*layer(x))[0].square().sum(), layer, x)
    assert_near(got, gradients(theirs(*theirs(x))[0].square().sum(), theirs, x))


def test_retain_graph_allows_a_second_backward(layer: carousel.LSTM, x: Tensor) -> None:
    loss = layer(x)[0].square().sum()
    first = gradients(loss, layer, x, retain_graph=True)
    assert_near(gradients(loss, layer, x), first, 0.0)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        gradients(loss, layer, x)


@pytest.mark.parametrize("loss", [torch.sum, torch.norm], ids=["linear", "not linear"])
def test_a_second_derivative_is_refused(layer: carousel.LSTM, x: Tensor, loss: Any) -> None:
    y = layer(x)[0]
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        gradients(loss(y), layer, x, create_graph=True)


def test_a_second_derivative_comes_from_the_loop(layer: carousel.LSTM, x: Tensor) -> None:
    layer.backend = "autograd"
    second = []
    for each in (layer, torchs(layer)):
        first = gradients(each(x)[0].square().sum(), each, x, create_graph=True)
        second.append(gradients(first["x"].square().sum(), each, x))
    assert_near(*second)


def test_functional_transforms_work_on_the_loop(layer: carousel.LSTM, x: Tensor) -> None:
    layer.backend = "autograd"
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(own: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, own, (x,))[0].square().sum()

    want = gradients(layer(x)[0].square().sum(), layer, x)
    del want["x"]
    assert_near(torch.func.grad(loss)(parameters), want)


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l1"])
def test_weights_changed_before_backward_are_refused(
    layer: carousel.LSTM, x: Tensor, name: str
) -> None:
    loss = layer(x)[0].sum()
    with torch.no_grad():
        layer.get_parameter(name).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_frozen_parameters_get_no_gradient_and_change_no_other(
    layer: carousel.LSTM, x: Tensor
) -> None:
    layer(x)[0].square().sum().backward()
    want = layer.weight_hh_l0.grad.clone()
    layer.zero_grad()
    layer.weight_ih_l0.requires_grad_(False)
    layer.bias_hh_l1.requires_grad_(False)
    layer(x)[0].square().sum().backward()
    assert layer.weight_ih_l0.grad is None
    assert layer.bias_hh_l1.grad is None
    assert torch.equal(layer.weight_hh_l0.grad, want)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_numbers_are_the_same(
    layer: carousel.LSTM, x: Tensor, mode: type
) -> None:
    want, _ = layer(x)
    with mode():
        y, (h_n, c_n) = layer(x)
        assert not any(tensor.requires_grad for tensor in (y, h_n, c_n))
        assert torch.equal(y, want)


@pytest.mark.parametrize("is_inside", [False, True], ids=["loss outside", "loss inside"])
def test_autocast_changes_nothing(is_inside: bool) -> None:
    """Also where backward runs inside the region, which turns its products into bfloat16."""
    torch.manual_seed(0)
    layer = carousel.LSTM(D, H, L, backend="bptt")
    x = torch.randn(40, B, D, requires_grad=True)
    want_y, want_state = layer(x)
    want = gradients(want_y.square().sum(), layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x)
        if is_inside:
            got = gradients(y.square().sum(), layer, x)
    if not is_inside:
        got = gradients(y.square().sum(), layer, x)
    torch.testing.assert_close((y, state), (want_y, want_state), rtol=0, atol=0)
    assert_near(got, want, 0.0)


def test_autocast_hands_over_half_precision() -> None:
    layer = carousel.LSTM(D, H, L, backend="bptt")
    x, state = torch.randn(T, B, D).bfloat16(), torch.randn(L, B, H).bfloat16()
    want = layer(x.float(), (state.float(), state.float()))
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x, (state, state))
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@each_variant
def test_no_variant_has_a_second_derivative(variant: str) -> None:
    layer = made(variant, backend="bptt").train()
    y, _ = layer(torch.randn(T, B, D, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(y.sum(), layer.weight_hh_l0, create_graph=True)


@each_variant
def test_no_variant_leaves_a_cycle(variant: str) -> None:
    layer = made(variant, backend="bptt").train()
    gc.disable()
    try:
        y, state = layer(torch.randn(T, B, D, dtype=torch.float64))
        graph = weakref.ref(y.grad_fn)
        del y, state
        assert graph() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("has_backward", [True, False])
def test_memory_is_freed_without_the_garbage_collector(
    layer: carousel.LSTM, x: Tensor, has_backward: bool
) -> None:
    gc.collect()
    gc.disable()
    try:
        counts, graphs = [], []
        for _ in range(10):
            y, (h_n, c_n) = layer(x)
            graphs.append(weakref.ref(y.grad_fn))
            if has_backward:
                (y.sum() + h_n.sum() + c_n.sum()).backward()
            del y, h_n, c_n
            counts.append(sum(issubclass(type(o), Tensor) for o in gc.get_objects()))
        assert all(graph() is None for graph in graphs)
        assert counts[-1] == counts[0]
    finally:
        gc.enable()
