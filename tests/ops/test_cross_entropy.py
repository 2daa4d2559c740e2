"""Cross-entropy and its reverse against the definition, torch and differences."""

import math

import pytest
import torch
from torch import Tensor

from assertions import assert_near
from carousel.ops import cross_entropy
from carousel.verify.functions import CROSS_ENTROPY
from carousel.verify.op_spec import Case
from hand_derived import by_hand, random, with_gradients

B, T, V = 3, 5, 7
TARGETS = torch.tensor([[0, 6, 3, 3, 1], [2, 2, 2, 2, 2], [5, 0, 6, 4, 1]])


def case(logits: Tensor) -> Case:
    return Case(CROSS_ENTROPY, {}, {"logits": logits}, {"targets": TARGETS})


def ours(logits: Tensor) -> Tensor:
    return by_hand(case(logits))["losses"]


def theirs(logits: Tensor) -> Tensor:
    assert CROSS_ENTROPY.reference is not None
    return CROSS_ENTROPY.reference(case(logits))["losses"]


def test_is_its_definition() -> None:
    logits = random(B, T, V)
    losses, p = cross_entropy.forward(logits, TARGETS)
    for b in range(B):
        for t in range(T):
            e = [math.exp(z) for z in logits[b, t].tolist()]
            share = [x / math.fsum(e) for x in e]
            assert p[b, t].tolist() == pytest.approx(share, rel=1e-13)
            want = -math.log(share[TARGETS[b, t]])
            assert losses[b, t].item() == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [1, 30, 1e4])
@pytest.mark.parametrize("shift", [0, 2**14, -(2**14)])
def test_is_torchs_in_value_and_gradient(shift: int, scale: float, dtype: torch.dtype) -> None:
    """Also far from 0, where log Σ e^z has no digits left for the loss."""
    logits = (scale * random(B, T, V, dtype=dtype) + shift).detach().requires_grad_()
    assert_near(with_gradients(ours, z=logits), with_gradients(theirs, z=logits))


def test_matches_finite_differences() -> None:
    assert torch.autograd.gradcheck(ours, random(B, T, V))


def test_a_uniform_guess_costs_log_v() -> None:
    losses, p = cross_entropy.forward(torch.full((B, T, V), -3.0, dtype=torch.float64), TARGETS)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(V)), rtol=1e-15, atol=0)
    torch.testing.assert_close(p, torch.full_like(p, 1 / V), rtol=1e-15, atol=0)


def test_what_is_surely_wrong_has_a_loss_and_a_gradient() -> None:
    """There p of the target is 0, and its logarithm would be no number."""
    logits = torch.tensor([[0.0, 1e4], [0.0, -1e4]])
    targets = torch.tensor([0, 1])
    losses, p = cross_entropy.forward(logits, targets)
    assert losses.tolist() == [1e4, 1e4]
    dlogits = cross_entropy.backward(torch.ones(2), p, targets)
    assert dlogits.tolist() == [[-1, 1], [1, -1]]


def test_what_is_surely_right_costs_nothing() -> None:
    losses, p = cross_entropy.forward(torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([0]))
    assert losses.item() == 0
    assert not cross_entropy.backward(torch.ones(1), p, torch.tensor([0])).any()


def test_a_token_that_cannot_come_gets_no_gradient() -> None:
    logits = random(B, T, V).detach()
    logits[..., 1] = -math.inf
    targets = TARGETS.where(TARGETS != 1, 0)
    losses, p = cross_entropy.forward(logits, targets)
    dlogits = cross_entropy.backward(torch.ones(B, T).double(), p, targets)
    assert losses.isfinite().all()
    assert not dlogits[..., 1].any()
    assert dlogits.sum(-1).abs().max() < 1e-15
