"""torch.func and torch.compile, which users put around a layer, find what they need."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from twins import LAYERS, twins

import carousel
from assertions import assert_near
from carousel.kernels import fused
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.models.loss import cross_entropy

T, B, D, H = 5, 3, 4, 16


def loss_of(layer: nn.Module) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    return lambda parameters, x: functional_call(layer, parameters, (x,))[0].square().sum()


@pytest.mark.parametrize("name", LAYERS)
def test_functional_gradients_are_torchs(name: str) -> None:
    theirs, ours = twins(name, D, H, 2)
    parameters, x = dict(theirs.named_parameters()), torch.randn(T, B, D)
    want = grad(loss_of(theirs))(parameters, x)
    assert_near(grad(loss_of(ours))(parameters, x), want)
    each = vmap(grad(loss_of(ours)), in_dims=(None, 0))(parameters, torch.stack([x, 2 * x]))
    assert_near({key: value[0] for key, value in each.items()}, want)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is (deprecated|not)")  # in torch's own jvp
@pytest.mark.parametrize("name", LAYERS)
def test_what_torchs_layers_cannot_give_is_there_too(name: str) -> None:
    """Forward mode and second derivatives, against differences in float64."""
    layer = getattr(carousel, name)(D, H, dtype=torch.float64)
    x, v = torch.randn(2, T, B, D, dtype=torch.float64)

    def total(x: Tensor) -> Tensor:
        y: Tensor = layer(x)[0]
        return y.square().sum()

    h = 1e-5
    slope = jvp(total, (x,), (v,))[1]
    assert_near({"jvp": slope}, {"jvp": (total(x + h * v) - total(x - h * v)) / (2 * h)}, 1e-7)
    bent = (hessian(total)(x).reshape(x.numel(), -1) @ v.flatten()).reshape(x.shape)
    want = (grad(total)(x + h * v) - grad(total)(x - h * v)) / (2 * h)
    assert_near({"hessian": bent}, {"hessian": want}, 1e-7)


@pytest.mark.parametrize("family", ["rnn", "gru", "lstm", "mlp", "transformer"])
def test_a_language_model_too(family: Any) -> None:
    model = build(ModelConfig(model=family, embedding_size=H, hidden_size=H), 20)
    ids, parameters = torch.randint(20, (B, T)), dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return cross_entropy(functional_call(model, parameters, (ids,))[0], ids).mean()

    found = grad(loss)(parameters)
    loss(parameters).backward()  # type: ignore[no-untyped-call]
    assert_near(found, {name: p.grad for name, p in parameters.items() if p.grad is not None})


def test_attention_too() -> None:
    layer, x = carousel.MultiheadAttention(H, 4), torch.randn(T, B, H)
    want = torch.autograd.functional.jacobian(lambda x: layer(x, x, x)[0], x)
    assert_near({"jacobian": jacrev(lambda x: layer(x, x, x)[0])(x)}, {"jacobian": want})


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")  # likewise
@pytest.mark.parametrize("name", [*LAYERS, "LSTMCell"])
def test_the_compiler_leaves_layers_to_their_kernels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would unroll the loop over time: minutes for a model, and a slower one."""
    layer = getattr(carousel, name)(D, H)
    is_cell, seen = name.endswith("Cell"), []
    x = torch.randn(*(() if is_cell else (T,)), B, D)

    def loss(x: Tensor) -> Tensor:
        y: Tensor = layer(torch.tanh(x))[0]
        return torch.tanh(y).square().sum()

    unfit = fused.unsupported_call

    def watched(call: fused.Call) -> str | None:
        seen.append(torch.compiler.is_compiling())
        return unfit(call)

    monkeypatch.setattr(fused, "unsupported_call", watched)
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager")
    found = torch.autograd.grad(compiled(x), list(layer.parameters()))
    want = torch.autograd.grad(loss(x), list(layer.parameters()))
    for got, expected in zip(found, want, strict=True):
        assert torch.equal(got, expected)
    assert not any(seen)
    assert is_cell or len(seen) == 2
