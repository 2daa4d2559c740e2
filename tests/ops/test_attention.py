"""Attention and its reverse against the paper, torch and differences; and what it cannot know."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from assertions import assert_near
from carousel.ops import attention
from carousel.ops.attention import ALL, AttentionMask
from carousel.verify.attention import ATTENTION
from definitions_of_attention import (
    TRIALS,
    Sizes,
    Trial,
    assert_same,
    attended,
    case,
    enormous,
    visible,
)
from definitions_of_attention import attention as by_definition
from hand_derived import random, with_gradients

TINY = Sizes(B=2, N=1, K=2, M=3)  # for finite differences, which cost a run per number
trials = pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)


def hand_derived(sight: AttentionMask = ALL, keep: Tensor | None = None) -> Callable[..., Tensor]:
    """Attention of q, k, v and, if it is given, of a bias; with its hand-derived reverse."""
    return lambda *tensors: attended(ATTENTION, sight, keep)(*tensors)["y"]


def values_and_weights(
    sight: AttentionMask = ALL, keep: Tensor | None = None
) -> Callable[..., Tensor]:
    """The same, but the weights are outputs too, beside the values: (B, N, T, M + S)."""
    return lambda *tensors: torch.cat([*attended(ATTENTION, sight, keep)(*tensors).values()], -1)


@trials
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_is_its_definition_in_value_and_gradient(trial: Trial, dtype: torch.dtype) -> None:
    inputs, sight = case(trial, dtype)
    got = with_gradients(hand_derived(sight), **inputs)
    assert_same(got, with_gradients(lambda *qkv: by_definition(*qkv, sight), **inputs))


@trials
def test_is_torchs_in_value_and_gradient(trial: Trial) -> None:
    """Where a query sees nothing torch is asked about another one, and its answer set to zero."""
    inputs, sight = case(trial)
    seen = visible(trial, sight)
    anything = seen.any(-1, keepdim=True)
    added = torch.zeros(()).double() if sight.bias is None else sight.bias
    added = added.masked_fill(~seen, -math.inf).where(anything, 0)

    def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, added).where(anything, 0)

    assert_same(with_gradients(hand_derived(sight), **inputs), with_gradients(theirs, **inputs))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 1, 1), (5, 7), (2, 1, 1, 7)], ids=str)
def test_the_gradient_of_the_scores_is_that_of_the_bias(shape: tuple[int, ...]) -> None:
    inputs, _ = case(Trial(5, 7))
    inputs["bias"] = random(*shape, seed=4)
    want = with_gradients(F.scaled_dot_product_attention, **inputs)
    assert_same(with_gradients(hand_derived(), **inputs), want)


@pytest.mark.parametrize("run", [hand_derived, values_and_weights], ids=lambda run: run.__name__)
@pytest.mark.parametrize("is_dropped", [False, True])
@pytest.mark.parametrize("name", ["every key", "some queries see nothing", "all of it"])
def test_matches_finite_differences(
    name: str, is_dropped: bool, run: Callable[..., Callable[..., Tensor]]
) -> None:
    trial = TRIALS[name]
    inputs, sight = case(trial, sizes=TINY)
    generator = torch.Generator().manual_seed(5)
    keep = torch.rand(TINY.B, TINY.N, trial.T, trial.S, generator=generator).double() * 2
    bias = random(trial.T, trial.S, seed=6) if sight.bias is None else None
    tensors = *inputs.values(), *([] if bias is None else [bias])
    assert torch.autograd.gradcheck(run(sight, keep if is_dropped else None), tensors)


@trials
def test_the_weights_are_shares_of_what_a_query_sees(trial: Trial) -> None:
    inputs, sight = case(trial)
    y, weights, _ = attention.forward(**inputs, sight=sight)
    seen = visible(trial, sight).expand_as(weights)
    assert (weights[~seen] == 0).all()
    assert (weights[seen] > 0).all()
    torch.testing.assert_close(weights.sum(-1), seen.any(-1).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(y, weights @ inputs["v"], rtol=1e-13, atol=1e-13)


def test_without_a_gradient_of_the_weights_it_is_as_if_that_were_zero() -> None:
    inputs, sight = case(TRIALS["all of it"])
    y, weights, trace = attention.forward(**inputs, sight=sight)
    gradients = attention.backward(y, trace)
    for d, want in zip(gradients, attention.backward(y, trace, 0 * weights), strict=True):
        assert torch.equal(d, want)


def test_dropped_weights_are_returned_as_they_are_used() -> None:
    inputs, sight = case(TRIALS["a window"])
    whole = attention.forward(**inputs, sight=sight)[1]
    keep = (torch.rand(whole.shape, generator=torch.Generator().manual_seed(5)) < 0.5).double() * 2
    y, weights, _ = attention.forward(**inputs, sight=sight, keep=keep)
    assert torch.equal(weights, whole * keep)
    torch.testing.assert_close(y, weights @ inputs["v"], rtol=1e-13, atol=1e-13)


def test_a_query_that_sees_nothing_takes_nothing_and_gives_no_gradient() -> None:
    inputs, sight = case(TRIALS["all of it"]._replace(first=(8, 5)))
    found = with_gradients(hand_derived(sight), **inputs)
    for name, tensor in found.items():
        assert (tensor[0] == 0).all(), name
        assert tensor[1].any(), name
        assert tensor.isfinite().all(), name


@pytest.mark.parametrize("name", ["every key", "a past and a window", "all of it"])
def test_scores_of_ten_thousand_do_no_harm_in_single_precision(name: str) -> None:
    single, double = (
        with_gradients(hand_derived(sight), **inputs)
        for inputs, sight in (enormous(TRIALS[name], d) for d in (torch.float32, torch.float64))
    )
    assert_same(single, {name: tensor.float() for name, tensor in double.items()})


@pytest.mark.parametrize("sign", [-1, 1])
def test_enormous_queries_and_keys_do_no_harm_in_single_precision(sign: int) -> None:
    inputs, sight = case(TRIALS["some queries see nothing"], torch.float32)
    q, k = (200 * inputs[name].detach().abs() for name in "qk")
    assert ((q @ k.mT) > 2e4).any()
    enlarged = {"q": q.requires_grad_(), "k": (sign * k).requires_grad_(), "v": inputs["v"]}
    found = with_gradients(hand_derived(sight), **enlarged)
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert found["y"].abs().max() <= inputs["v"].abs().max()


def test_without_positions_it_does_not_know_the_order() -> None:
    """Permuted inputs, permuted outputs. A window knows something of the order."""
    x, weights = random(2, 3, 6, 4), random(3, 4, 4, seed=1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])

    def self_attention(x: Tensor, sight: AttentionMask) -> Tensor:
        return attention.forward(*(torch.einsum("bnik,kl->bnil", x, w) for w in weights), sight)[0]

    of_the_permuted = self_attention(x[:, :, order], ALL)
    assert_near({"y": of_the_permuted}, {"y": self_attention(x, ALL)[:, :, order]})
    causal = AttentionMask(context=6)
    difference = self_attention(x[:, :, order], causal) - self_attention(x, causal)[:, :, order]
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("context", [1, 3, 8])
@pytest.mark.parametrize("past", [0, 2])
def test_a_query_sees_exactly_its_window(context: int, past: int) -> None:
    """What is later, or not in the window any more, has no influence at all; what is in it, has."""
    inputs, sight = case(Trial(6, 6 + past, context))
    y = attention.forward(**inputs, sight=sight)[0]
    for j in range(6 + past):
        places = torch.arange(past, 6 + past)
        in_window = (places >= j) & (places < j + context)
        changed = dict(inputs)
        for name in "kv":
            changed[name] = inputs[name].detach().clone()
            changed[name][:, :, j] = 1e30
        other = attention.forward(**changed, sight=sight)[0]
        assert torch.equal(other[:, :, ~in_window], y[:, :, ~in_window])
        assert (other != y)[:, :, in_window].any(-1).all()
    for i in range(6):
        run = hand_derived(sight)
        dk, dv = torch.autograd.grad(run(*inputs.values())[:, :, i].sum(), [*inputs.values()][1:])
        reached = torch.arange(max(0, past + i - context + 1), past + i + 1)
        for gradient in (dk, dv):
            assert (
                gradient.any(-1)[:, :, [j for j in range(6 + past) if j not in reached]].sum() == 0
            )
        assert dv.any(-1)[:, :, reached].all()


@pytest.mark.parametrize("context", [1, 4, 9])
def test_the_window_slides_in_a_cache_as_over_the_whole(context: int) -> None:
    """One step at a time, with the last keys and values in a cache that is empty at first."""
    inputs, sight = case(Trial(9, 9, context))
    whole = attention.forward(**inputs, sight=sight)[0]
    q, k, v = inputs.values()
    past = torch.full((2, 3, context, 4), 7.0).double()
    cached_k, cached_v = past, torch.full((2, 3, context, 5), -7.0).double()
    for t in range(9):
        now = slice(t, t + 1)
        cached_k = torch.cat([cached_k, k[:, :, now]], dim=2)[:, :, -context:]
        cached_v = torch.cat([cached_v, v[:, :, now]], dim=2)[:, :, -context:]
        first = torch.full((2,), max(0, context - t - 1))
        y = attention.forward(q[:, :, now], cached_k, cached_v, AttentionMask(context, first))[0]
        assert_near({"y": y}, {"y": whole[:, :, now]})
