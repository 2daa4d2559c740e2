"""What attention keeps, runs and rounds: memory, operators, derivatives, half precision."""

import gc
import weakref
from typing import Any, NamedTuple

import pytest
import torch
from attending import B, E, N, S, T, attended, attentions, causal, results
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from twins import BACKENDS, normal

import carousel
from assertions import assert_near
from test_from_scratch import banned_operators


def nodes(y: Tensor) -> dict[str, Any]:
    """The nodes of the graph that lead to a tensor, by name."""
    seen, todo = set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return {node.name(): node for node in seen}


def cross(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return normal(T, B, E, dtype=dtype), normal(S, B, E, dtype=dtype), normal(S, B, E, dtype=dtype)


KEPT, IN_BLOCKS = "AttentionBackward", "FlashAttentionBackward"


def test_which_form_runs() -> None:
    layer = carousel.MultiheadAttention(E, N, dropout=0.1).eval()
    x = torch.randn(T, B, E)
    zeros = torch.zeros(T, T)
    assert IN_BLOCKS in nodes(layer(x, x, x, need_weights=False)[0])
    assert IN_BLOCKS in nodes(layer(x, x, x, need_weights=False, attn_mask=zeros)[0])
    assert KEPT in nodes(layer(x, x, x)[0])
    assert KEPT in nodes(layer(x, x, x, need_weights=False, attn_mask=zeros.requires_grad_())[0])
    assert KEPT in nodes(layer.train()(x, x, x, need_weights=False)[0])


def test_the_argument_and_the_context_say_what_runs() -> None:
    layer, x = carousel.MultiheadAttention(E, N), torch.randn(T, B, E)
    for need_weights, name in ((True, KEPT), (False, IN_BLOCKS)):

        def names(need_weights: bool = need_weights) -> set[str]:
            return {KEPT, IN_BLOCKS} & set(nodes(layer(x, x, x, need_weights=need_weights)[0]))

        layer.backend = "auto"
        assert names() == {name}
        with carousel.backend("autograd"):
            assert names() == set()
            layer.backend = "bptt"
            assert names() == {name}
        layer.backend = "autograd"
        assert names() == set()


class Call(NamedTuple):
    name: str
    given: list[Tensor]
    made: list[Tensor]  # no views of what was given


class Watch(TorchDispatchMode):
    """Notes which operators run, on what, and what they make."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        there = {t.untyped_storage().data_ptr() for t in given}
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        fresh = [t for t in made if t.untyped_storage().data_ptr() not in there]
        self.calls.append(Call(str(func), given, fresh))
        return out

    def largest(self) -> int:
        """The numbers in the largest tensor that was made."""
        return max(t.numel() for call in self.calls for t in call.made)


def largest(steps: int, **given: Any) -> int:
    """Of a forward and backward pass over so many queries, and keys."""
    layer = carousel.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True)
    x = torch.randn(steps, 1, 4, requires_grad=True)
    with Watch() as watch:
        layer(x, x, x, **given)[0].sum().backward()
    return watch.largest()


IN_A_BLOCK = 2 * 512**2  # the scores of two heads


def test_memory_is_linear_where_no_weights_are_needed() -> None:
    for steps in (1024, 2048):
        padding = torch.zeros(1, steps, dtype=torch.bool)
        assert largest(steps, need_weights=False) <= IN_A_BLOCK
        assert largest(steps, need_weights=False, key_padding_mask=padding) <= IN_A_BLOCK
    assert largest(1024) >= 4 * IN_A_BLOCK, "the watch sees too little"


def test_memory_is_linear_without_gradients_too() -> None:
    layer, x = carousel.MultiheadAttention(4, 2), torch.randn(1024, 1, 4)
    added = torch.zeros(1024, 1024, requires_grad=True)
    with torch.no_grad(), Watch() as watch:
        layer(x, x, x, need_weights=False, attn_mask=added)
    assert watch.largest() <= IN_A_BLOCK


def test_no_zeros_of_the_size_of_the_weights_where_no_loss_reads_them() -> None:
    layer, x = carousel.MultiheadAttention(4, 2), torch.randn(64, 1, 4)
    y, _ = layer(x, x, x)
    with Watch() as watch:
        y.sum().backward()
    zeros = [t for call in watch.calls if "zeros" in call.name for t in call.made]
    assert max((t.numel() for t in zeros), default=0) < 64 * 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_training", [True, False])
def test_no_attention_of_torchs_runs(backend: Any, dtype: torch.dtype, is_training: bool) -> None:
    layer = carousel.MultiheadAttention(
        E, N, 0.1, batch_first=True, backend=backend, dtype=dtype
    ).train(is_training)
    x = torch.randn(B, T, E, dtype=dtype, requires_grad=True)
    own = {"attn_mask": causal("bool", T, T, dtype), "is_causal": True}
    for need_weights in (True, False):
        run = lambda w=need_weights: layer(x, x, x, need_weights=w, **own)[0]  # noqa: E731
        assert banned_operators(run) == set()


def test_the_output_or_the_weights_alone_may_be_differentiated() -> None:
    theirs, ours = attentions(dtype=torch.float64)
    inputs = cross()
    for pick in (0, 1):
        got, want = (
            torch.autograd.grad(layer(*inputs)[pick].square().sum(), inputs, materialize_grads=True)
            for layer in (ours, theirs)
        )
        names = ("query", "key", "value")
        assert_near(dict(zip(names, got, strict=True)), dict(zip(names, want, strict=True)))


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_second_derivative_is_refused_or_comes_from_torch(need_weights: bool) -> None:
    theirs, ours = attentions(dtype=torch.float64)
    x = normal(T, B, E)

    def second(layer: Any, need_weights: bool) -> Tensor:
        y = layer(x, x, x, need_weights=need_weights)[0]
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (gradient,) = torch.autograd.grad(first.square().sum(), x)
        return gradient

    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        second(ours, need_weights)
    with carousel.backend("autograd"):  # torch's other path has no second derivative
        assert_near({"x": second(ours, need_weights)}, {"x": second(theirs, True)})


@pytest.mark.parametrize("need_weights", [True, False])
def test_memory_is_freed_without_the_garbage_collector(need_weights: bool) -> None:
    layer = carousel.MultiheadAttention(E, N)
    gc.disable()
    try:
        y, weights = layer(*cross(torch.float32), need_weights=need_weights)
        node = weakref.ref(nodes(y)[KEPT if need_weights else IN_BLOCKS])
        del y, weights
        assert node() is None
    finally:
        gc.enable()


def test_a_weight_may_be_computed_frozen_or_handed_in() -> None:
    theirs, ours = (weight_norm(layer, "in_proj_weight") for layer in attentions())
    inputs = cross(torch.float32)
    assert_near(results(ours, inputs), results(theirs, inputs))
    theirs, ours = attentions()
    for layer in (theirs, ours):
        layer.in_proj_weight.requires_grad_(False)
    assert_near(results(ours, inputs), results(theirs, inputs))
    other = {name: torch.randn_like(p) for name, p in ours.named_parameters()}
    got, want = (torch.func.functional_call(layer, other, inputs) for layer in (ours, theirs))
    assert_near(dict(zip("yw", got, strict=True)), dict(zip("yw", want, strict=True)))


def error(got: Tensor, want: Tensor) -> float:
    return ((got.double() - want).norm() / want.norm()).item()


HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


@HALVES
@pytest.mark.parametrize("need_weights", [True, False])
def test_half_precision_is_no_worse_than_torchs(dtype: torch.dtype, need_weights: bool) -> None:
    """Over 200 keys: sums of so many in half precision would be."""
    theirs, ours = (layer.to(dtype) for layer in attentions())
    exact = attentions()[0].double()
    exact.load_state_dict(theirs.state_dict())
    x = torch.randn(200, 1, E).to(dtype)
    truth = attended(exact, (x.double(),) * 3, need_weights=need_weights)
    given, leaf = {"need_weights": need_weights}, x.requires_grad_()
    got, want = (results(layer, (leaf,) * 3, **given) for layer in (ours, theirs))
    for name, tensor in truth.items():
        assert got[name].dtype == want[name].dtype == dtype
        assert error(got[name], tensor) <= 1.05 * error(want[name], tensor), name
    bound = 0.05 if dtype is torch.bfloat16 else 0.01
    assert_near(got, want, bound)


@HALVES
@pytest.mark.parametrize("need_weights", [True, False])
def test_autocast_gives_torchs_types_and_no_worse_numbers(
    dtype: torch.dtype, need_weights: bool
) -> None:
    theirs, ours = attentions(add_bias_kv=True)
    exact = attentions(add_bias_kv=True)[0].double()
    inputs = tuple(x.detach() for x in cross(torch.float32))
    own: dict[str, Any] = {
        "need_weights": need_weights,
        "attn_mask": causal("float", T, S, torch.float32),
    }
    truth = attended(
        exact, tuple(x.double() for x in inputs), **(own | {"attn_mask": own["attn_mask"].double()})
    )
    with torch.autocast("cpu", dtype):
        got, want = (attended(layer, inputs, **own) for layer in (ours, theirs))
        for given in (torch.float16, torch.bfloat16):  # as torch, which converts them too
            assert ours(*(x.to(given) for x in inputs), **own)[0].dtype == dtype
    for name, tensor in truth.items():
        assert got[name].dtype == want[name].dtype == dtype
        assert error(got[name], tensor) <= 1.05 * error(want[name], tensor), name


def test_scores_are_no_half_precision_under_autocast() -> None:
    """Also where the backward pass runs inside the region, which turns products into bfloat16."""
    layer = carousel.MultiheadAttention(E, N)
    x = torch.randn(T, B, E, requires_grad=True)

    for need_weights in (True, False):
        with torch.autocast("cpu", torch.bfloat16), Watch() as watch:
            layer(x, x, x, need_weights=need_weights)[0].sum().backward()
        products = [call for call in watch.calls if "bmm" in call.name]
        assert len(products) >= 6  # two of the forward pass, four of its reverse
        assert {t.dtype for call in products for t in call.given} == {torch.float32}
