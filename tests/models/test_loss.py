"""The loss in nats, and the units beside it."""

import math

import pytest
import torch
from torch.nn import functional as F

from carousel.models.loss import bits_per_character, cross_entropy, perplexity

B, T, V = 3, 5, 7


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_equals_torch_in_value_and_gradient(scale: float) -> None:
    torch.manual_seed(0)
    logits = (scale * torch.randn(B, T, V, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(V, (B, T))
    ours = cross_entropy(logits, targets)
    theirs = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(B, T)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    u = torch.randn(B, T, dtype=torch.float64)
    got, want = (torch.autograd.grad((u * loss).sum(), logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_a_uniform_guess_costs_log_v() -> None:
    losses = cross_entropy(torch.full((B, T, V), -3.0), torch.randint(V, (B, T)))
    torch.testing.assert_close(losses, torch.full((B, T), math.log(V)))


def test_half_precision_is_summed_in_single() -> None:
    logits = torch.randn(B, T, V).bfloat16()
    targets = torch.randint(V, (B, T))
    ours = cross_entropy(logits, targets)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, cross_entropy(logits.float(), targets), rtol=0, atol=0)


def test_units() -> None:
    assert bits_per_character(math.log(2)) == pytest.approx(1.0)
    assert perplexity(math.log(7)) == pytest.approx(7.0)
    assert math.isfinite(perplexity(1e6))
