"""Attention in blocks is attention: the same numbers, whatever the block; and less memory."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from assertions import assert_near
from carousel.ops import attention, flash_attention
from carousel.ops.attention import AttentionMask
from carousel.verify.attention import ATTENTION
from carousel.verify.attention import BLOCKS as OF_BLOCKS
from definitions_of_attention import TRIALS, Sizes, Trial, assert_same, attended, case, enormous
from definitions_of_attention import attention as by_definition
from hand_derived import random, with_gradients

TINY = Sizes(B=2, N=1, K=2, M=3)  # for finite differences, which cost a run per number
BLOCKS = [1, 2, 3, 5, 64]


def in_blocks(sight: AttentionMask, block: int) -> Callable[..., Tensor]:
    return lambda *qkv: attended(OF_BLOCKS, sight, block=block)(*qkv)["y"]


def at_once(sight: AttentionMask) -> Callable[..., Tensor]:
    return lambda *qkv: attended(ATTENTION, sight)(*qkv)["y"]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_is_the_definition_in_value_and_gradient(trial: Trial, block: int) -> None:
    inputs, sight = case(trial)
    got = with_gradients(in_blocks(sight, block), **inputs)
    assert_same(got, with_gradients(lambda *qkv: by_definition(*qkv, sight), **inputs))


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_single_precision_is_as_near_as_it_can_be(trial: Trial) -> None:
    inputs, sight = case(trial, torch.float32)
    got = with_gradients(in_blocks(sight, block=3), **inputs)
    assert_same(got, with_gradients(at_once(sight), **inputs))


@settings(max_examples=60)
@given(st.data())
def test_equals_the_plain_form(data: st.DataObject) -> None:
    queries, keys = data.draw(st.integers(1, 11)), data.draw(st.integers(1, 13))
    context = data.draw(st.none() | st.integers(1, 14))
    first = data.draw(st.none() | st.tuples(*[st.integers(0, keys)] * 2))
    is_hidden = data.draw(st.none() | st.lists(st.booleans(), min_size=16, max_size=16))
    hides = None if is_hidden is None else lambda b, i, j: is_hidden[(5 * b + 3 * i + j) % 16]
    inputs, sight = case(Trial(queries, keys, context, first, hides))
    block = data.draw(st.integers(1, 14))
    got = with_gradients(in_blocks(sight, block), **inputs)
    want = with_gradients(at_once(sight), **inputs)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", [3, 64])
@pytest.mark.parametrize("name", ["every key", "some queries see nothing", "all of it"])
def test_matches_finite_differences(name: str, block: int) -> None:
    inputs, sight = case(TRIALS[name], sizes=TINY)
    assert torch.autograd.gradcheck(in_blocks(sight, block), tuple(inputs.values()))


@pytest.mark.parametrize("block", [1, 3, 64])
def test_what_is_kept_of_the_scores_is_the_logarithm_of_their_total(block: int) -> None:
    inputs, sight = case(TRIALS["all of it"])
    q, k, v = inputs.values()
    _, trace = flash_attention.forward(q, k, v, sight, block=block)
    scores = q @ k.mT / math.sqrt(q.shape[-1]) + sight.bias
    scores = scores.masked_fill(attention.build_mask(sight, q.shape[2], k.shape[2]), -math.inf)
    total = scores.logsumexp(-1, keepdim=True)
    something = total > -math.inf
    assert 0 < something.sum() < something.numel()
    assert_near({"": trace.log_total[something]}, {"": total[something]})
    assert trace.log_total.isfinite().all()


@pytest.mark.parametrize("block", [1, 4, 64])
def test_a_query_that_sees_nothing_takes_nothing_and_gives_no_gradient(block: int) -> None:
    inputs, sight = case(TRIALS["all of it"]._replace(first=(8, 5)))
    for name, tensor in with_gradients(in_blocks(sight, block), **inputs).items():
        assert (tensor[0] == 0).all(), name
        assert tensor[1].any(), name
        assert tensor.isfinite().all(), name


@pytest.mark.parametrize("block", [1, 3, 64])
@pytest.mark.parametrize("name", ["every key", "a past and a window", "all of it"])
def test_scores_of_ten_thousand_do_no_harm_in_single_precision(name: str, block: int) -> None:
    inputs, sight = enormous(TRIALS[name], torch.float32)
    exact, exact_sight = enormous(TRIALS[name], torch.float64)
    want = with_gradients(at_once(exact_sight), **exact)
    # Beside 10⁴ single precision has three digits after the point, and so has the log Σ e^s that
    # is kept for the reverse.
    got = with_gradients(in_blocks(sight, block), **inputs)
    assert_near({"y": got["y"]}, {"y": want["y"].float()})
    assert_near(got, {name: tensor.float() for name, tensor in want.items()}, tolerance=1e-3)


@pytest.mark.parametrize("block", [2, 64])
@pytest.mark.parametrize("context", [1, 3, 8])
def test_a_query_sees_exactly_its_window(context: int, block: int) -> None:
    """What is later, or not in the window any more, has no influence at all; what is in it, has."""
    past, queries = 2, 6
    inputs, sight = case(Trial(queries, past + queries, context))
    run = in_blocks(sight, block)
    y = run(*inputs.values())
    places = torch.arange(past, past + queries)
    for j in range(past + queries):
        in_window = (places >= j) & (places < j + context)
        k, v = (inputs[name].detach().clone() for name in "kv")
        k[:, :, j], v[:, :, j] = 1e30, 1e30
        other = run(inputs["q"], k, v)
        assert torch.equal(other[:, :, ~in_window], y[:, :, ~in_window])
        assert (other != y)[:, :, in_window].any(-1).all()
    for i in range(queries):
        y_i = run(*inputs.values())[:, :, i]
        dk, dv = torch.autograd.grad(y_i.sum(), (inputs["k"], inputs["v"]))
        keys = torch.arange(past + queries)
        in_window = (keys <= past + i) & (keys > past + i - context)
        assert not dk[:, :, ~in_window].any()
        assert not dv[:, :, ~in_window].any()
        assert dv[:, :, in_window].any(-1).all()


class Watch(TorchDispatchMode):
    """Notes the bytes of the largest tensor made, and how often each operator ran."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.runs: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.runs[str(func)] += 1
        for made in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(made, Tensor):  # what it holds in memory, and not what it shows of it
                self.largest = max(self.largest, made.untyped_storage().nbytes())
        return result


def watched(sight: AttentionMask, length: int, block: int | None) -> Watch:
    """Forward and reverse, in blocks or, without a block, at once."""
    q, k, v = (random(1, 1, length, 4, seed=s, dtype=torch.float32).detach() for s in range(3))
    with Watch() as watch:
        if block is None:
            y, _, trace = attention.forward(q, k, v, sight)
            attention.backward(y, trace)
        else:
            y, of_blocks = flash_attention.forward(q, k, v, sight, block=block)
            flash_attention.backward(y, of_blocks, block=block)
    return watch


@pytest.mark.parametrize("context", [None, 20, 1000])
def test_nothing_larger_than_the_values_is_ever_made(context: int | None) -> None:
    bias = torch.arange(256.0)  # one for each key
    sight = AttentionMask(context, torch.tensor([5]), bias)
    assert watched(sight, 256, block=16).largest == 256 * 4 * 4  # bytes of 256 · 4 numbers
    assert watched(sight, 256, block=None).largest == 256 * 256 * 4


def test_blocks_that_nobody_sees_are_not_computed() -> None:
    """8 queries that see 10 positions each see 17 together, which is 3 blocks of 8."""
    products = [
        watched(AttentionMask(10), n, block=8).runs["aten.bmm.default"] for n in (64, 128, 192)
    ]
    each = 3 * (2 + 5)  # forward and back
    assert [b - a for a, b in pairwise(products)] == [8 * each, 8 * each]
    assert watched(AttentionMask(), 64, block=8).runs["aten.bmm.default"] == 8 * 8 * (2 + 5)
