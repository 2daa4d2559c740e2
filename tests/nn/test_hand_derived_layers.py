"""What every layer with a hand-derived gradient keeps to, recurrence apart."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import carousel
from assertions import assert_near
from carousel.nn.cross_entropy import cross_entropy
from carousel.nn.embedding import Embedding
from carousel.nn.mlp import FixedWindow
from carousel.nn.normalization import LayerNorm
from carousel.nn.transformer import CausalSelfAttention, TransformerBlock
from hand_derived import random

IDS = torch.tensor([[0, 4, -1], [2, 2, 1]])
TARGETS = torch.tensor([[0, 4, 1], [2, 2, 1]])


class Case(NamedTuple):
    """A layer, None of a function; how it is run; and the shape of what goes in, () of ids."""

    layer: Callable[[], nn.Module]
    run: Callable[[nn.Module, Tensor], Tensor]
    shape: tuple[int, ...]


def cached(layer: nn.Module, x: Tensor) -> Tensor:
    """Two calls, the cache of the first handed to the second."""
    y, past = layer(x[:, :2], None)
    return torch.cat([y, layer(x[:, 2:], past)[0]], dim=1)


CASES = {
    "layer norm": Case(lambda: LayerNorm(4), lambda layer, x: layer(x), (2, 3, 4)),
    "embedding": Case(lambda: Embedding(5, 4), lambda layer, x: x * layer(IDS), (2, 3, 4)),
    "window": Case(lambda: FixedWindow(4, 3, 2), lambda layer, x: layer(x), (2, 4, 4)),
    "cross-entropy": Case(
        nn.Identity, lambda layer, x: cross_entropy(layer(x), TARGETS), (2, 3, 5)
    ),
    "attention": Case(lambda: CausalSelfAttention(4, 2, 3, is_rotary=True), cached, (2, 4, 4)),
    "block": Case(
        lambda: TransformerBlock(4, 3, 2, 3, is_rotary=False, dropout=0.0), cached, (2, 4, 4)
    ),
}
cases = pytest.mark.parametrize("name", CASES)
of_torchs_jvp = pytest.mark.filterwarnings("ignore:.torch.jit.script. is (deprecated|not)")


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layer = CASES[name].layer().to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return layer, random(*CASES[name].shape, dtype=dtype)


class Run(nn.Module):
    """A layer run in its case's way, as a module that torch can give other parameters."""

    def __init__(self, layer: nn.Module, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.run = layer, run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.layer, x)


def gradients(name: str, layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The output, and the gradients of the sum of its squares."""
    y = CASES[name].run(layer, x)
    wanted = {"x": x, **dict(layer.named_parameters())}
    found = torch.autograd.grad(y.square().sum(), list(wanted.values()))
    return {"y": y} | dict(zip(wanted, found, strict=True))


@cases
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    layer, x = made(name)
    names = [f"layer.{name}" for name, _ in layer.named_parameters()]
    module = Run(layer, CASES[name].run)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        own = dict(zip(names, parameters, strict=True))
        y: Tensor = torch.func.functional_call(module, own, (x,))
        return y

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@cases
def test_both_backends_give_the_same(name: str) -> None:
    layer, x = made(name)
    by_hand = gradients(name, layer, x)
    with carousel.backend("autograd"):
        assert_near(gradients(name, layer, x), by_hand)


@cases
@pytest.mark.parametrize("loss", [torch.sum, torch.norm], ids=["linear", "not linear"])
def test_a_second_derivative_is_refused(name: str, loss: Callable[[Tensor], Tensor]) -> None:
    layer, x = made(name)
    wanted = [x, *layer.parameters()]
    y = CASES[name].run(layer, x)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(loss(y), wanted, create_graph=True)


@cases
def test_torch_gives_a_second_derivative(name: str) -> None:
    layer, x = made(name)

    def run(x: Tensor) -> Tensor:
        return CASES[name].run(layer, x)

    with carousel.backend("autograd"):
        assert torch.autograd.gradgradcheck(run, (x,))


@of_torchs_jvp
@cases
@pytest.mark.parametrize("mode", [contextlib.nullcontext, torch.no_grad])
def test_forward_mode_keeps_the_tangent(name: str, mode: Callable[[], Any]) -> None:
    """Of the input and of every parameter, against differences; under no_grad, too."""
    layer, x = made(name)
    module = Run(layer, CASES[name].run)
    values = {"x": x.detach()} | {n: p.detach() for n, p in module.named_parameters()}
    along = {key: torch.randn_like(value) for key, value in values.items()}

    def run(values: dict[str, Tensor]) -> Tensor:
        own = {key: value for key, value in values.items() if key != "x"}
        y: Tensor = torch.func.functional_call(module, own, (values["x"],))
        return y

    h = 1e-5
    for moved in values:
        near = (values | {moved: values[moved] + sign * h * along[moved]} for sign in (1, -1))
        after, before = map(run, near)
        with mode(), forward_ad.dual_level():
            dual = forward_ad.make_dual(values[moved], along[moved])
            tangent = forward_ad.unpack_dual(run(values | {moved: dual})).tangent
        assert tangent is not None, f"the tangent of {moved} is lost"
        assert_near({moved: tangent}, {moved: (after - before).detach() / (2 * h)}, 1e-7)


@of_torchs_jvp
@cases
def test_forward_mode_is_refused_where_a_backend_cannot(name: str) -> None:
    layer, x = made(name)
    with carousel.backend("bptt"), forward_ad.dual_level():
        dual = forward_ad.make_dual(x.detach(), x.detach())
        if name == "embedding":  # its table is what may carry a tangent
            table = layer.get_parameter("weight").detach()
            del layer.weight
            layer.weight = forward_ad.make_dual(table, table)
        with pytest.raises(ValueError, match="backend 'bptt' cannot run under forward-mode"):
            CASES[name].run(layer, dual)


@cases
def test_a_vectorised_jacobian_is_that_of_a_loop(name: str) -> None:
    layer, x = made(name)
    jacobian = torch.autograd.functional.jacobian
    run = lambda x: CASES[name].run(layer, x)  # noqa: E731
    want = jacobian(run, x)
    assert_near({"J": jacobian(run, x, vectorize=True)}, {"J": want})
    y = run(x)
    directions = torch.eye(y.numel()).reshape(-1, *y.shape).to(y)
    each = torch.func.vmap(lambda d: torch.autograd.grad(y, x, d, retain_graph=True)[0])(directions)
    assert_near({"J": each.reshape(want.shape)}, {"J": want})


@cases
def test_without_gradients_the_numbers_are_the_same(name: str) -> None:
    layer, x = made(name)
    want = CASES[name].run(layer, x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = CASES[name].run(layer, x)
            assert not y.requires_grad
            assert torch.equal(y, want)


@pytest.mark.parametrize("name", ["layer norm", "window"])
@pytest.mark.parametrize("is_inside", [False, True], ids=["loss outside", "loss inside"])
def test_autocast_changes_nothing(name: str, is_inside: bool) -> None:
    """Also where backward runs inside the region, which turns its products into bfloat16."""
    layer, x = made(name, torch.float32)
    want = gradients(name, layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        y = CASES[name].run(layer, x)
        if is_inside:
            y.square().sum().backward()
    if not is_inside:
        y.square().sum().backward()
    got = {"y": y, "x": x.grad} | {name: p.grad for name, p in layer.named_parameters()}
    assert_near(got, want, 0.0)


@pytest.mark.parametrize("name", ["layer norm", "window"])
def test_half_precision_is_summed_in_that_of_the_weights(name: str) -> None:
    layer, x = made(name, torch.float32)
    half = x.detach().bfloat16()
    assert torch.equal(layer(half), layer(half.float()))


@pytest.mark.parametrize("name", ["attention", "block"])
def test_under_autocast_the_cache_stays_in_single_precision(name: str) -> None:
    """Keys and values are of products in bfloat16, and kept and summed in float32."""
    layer, x = made(name, torch.float32)
    _, cache = layer(x, None)
    for past in (None, cache):
        want, _ = layer(x, past)
        with torch.autocast("cpu", torch.bfloat16):
            y, new = layer(x, past)
        assert new.k.dtype == new.v.dtype == torch.float32
        assert y.dtype == (torch.bfloat16 if name == "attention" else torch.float32)
        error = (y.float() - want).norm() / want.norm()
        assert 0 < error < 0.02  # eight bits of mantissa are 0.004
