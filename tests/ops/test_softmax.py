"""Softmax and its reverse against the definition, torch and differences; of large scores too."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from assertions import assert_near
from carousel.ops.softmax import softmax, softmax_and_log_total, softmax_backward
from carousel.verify.functions import SOFTMAX
from carousel.verify.op_spec import Case
from hand_derived import by_hand, random, with_gradients

scores = st.floats(-700, 700)  # as far as e^s is a number


def ours(s: Tensor) -> Tensor:
    return by_hand(Case(SOFTMAX, {}, {"s": s}, {}))["p"]


@given(st.lists(scores, min_size=1, max_size=9))
def test_is_its_definition(row: list[float]) -> None:
    e = [math.exp(s) for s in row]
    p, log_total = softmax_and_log_total(torch.tensor(row, dtype=torch.float64))
    assert p.tolist() == pytest.approx([x / math.fsum(e) for x in e], rel=1e-12, abs=1e-300)
    assert log_total.item() == pytest.approx(math.log(math.fsum(e)), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(7,), (1,), (3, 5), (2, 3, 4, 5)], ids=str)
def test_is_torchs_in_value_and_gradient(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    s = (3 * random(*shape, dtype=dtype)).detach().requires_grad_()
    got = with_gradients(ours, s=s)
    want = with_gradients(lambda s: F.softmax(s, dim=-1), s=s)
    if shape[-1] == 1:  # the share of one is 1, whatever the score
        assert not got["ds"].any()
        assert (got["y"] == 1).all()
    else:
        assert_near(got, want)


def test_the_reverse_is_the_jacobian_written_out() -> None:
    p = softmax(random(6))
    jacobian = p.diag() - torch.outer(p, p)
    dp = random(6, seed=1)
    torch.testing.assert_close(softmax_backward(dp, p), jacobian @ dp, rtol=1e-13, atol=1e-15)


def test_matches_finite_differences() -> None:
    assert torch.autograd.gradcheck(ours, random(2, 3, 5))


def test_a_gradient_sums_to_zero() -> None:
    """A shift of all scores changes nothing."""
    s, dp = random(4, 9), random(4, 9, seed=1)
    assert softmax_backward(dp, softmax(s)).sum(-1).abs().max() < 1e-15


@pytest.mark.parametrize("far", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_large_scores_are_as_good_as_small_ones(dtype: torch.dtype, far: float) -> None:
    s = torch.tensor([-1, 0, 1, 3], dtype=dtype)
    assert torch.equal(softmax(s + far), softmax(s))


def test_the_ends_of_the_scale() -> None:
    low = torch.finfo(torch.float32).min
    s = torch.tensor([[low, low, low], [-low, low, 0], [low, -math.inf, low], [1e38, -1e38, 1e38]])
    p, log_total = softmax_and_log_total(s)
    want = [[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5]]
    torch.testing.assert_close(p, torch.tensor(want))
    torch.testing.assert_close(log_total.flatten(), torch.tensor([low, -low, low, 1e38]))


def test_what_is_hidden_gets_nothing_and_gives_no_gradient() -> None:
    s = random(2, 5).detach()
    s[0, 1:3], s[1] = -math.inf, -math.inf
    p, log_total = softmax_and_log_total(s)
    ds = softmax_backward(random(2, 5, seed=1), p)
    torch.testing.assert_close(p[0, [0, 3, 4]], F.softmax(s[0, [0, 3, 4]], dim=-1))
    for tensor in (p, ds):
        assert not tensor[0, 1:3].any()
        assert tensor[0, [0, 3, 4]].all()
        assert not tensor[1].any()
    assert log_total.isfinite().all()


def test_autograd_through_a_row_of_which_all_is_hidden_is_zero_and_no_nan() -> None:
    s = random(2, 3)
    hidden = torch.tensor([[True, True, True], [False, True, False]])
    (ds,) = torch.autograd.grad((softmax(s.masked_fill(hidden, -math.inf)) ** 2).sum(), s)
    assert not ds[hidden].any()
    assert ds[~hidden].all()


def test_the_logarithm_of_the_total_is_torchs() -> None:
    s = random(3, 4, 6)
    log_total = softmax_and_log_total(s)[1]
    assert_near({"": log_total}, {"": s.logsumexp(-1, keepdim=True)})
