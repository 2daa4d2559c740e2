"""LayerNorm against torch's: same parameters, same numbers, same gradients."""

import pytest
import torch
from torch import nn

from assertions import assert_near
from carousel.nn.normalization import LayerNorm
from hand_derived import random, with_gradients

N = 6


@pytest.mark.parametrize("shape", [(3, 5, N), (4, N), (N,), (0, N)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_it_is_torchs(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = LayerNorm(N).to(dtype), nn.LayerNorm(N, dtype=dtype)
    weights = {"weight": random(N, seed=1, dtype=dtype), "bias": random(N, seed=2, dtype=dtype)}
    for layer in (ours, theirs):
        layer.load_state_dict(weights)
    x = 3 * random(*shape, dtype=dtype).detach() + 7
    x.requires_grad_()
    got, want = (
        with_gradients(lambda x, *_, run=layer: run(x), x=x, **dict(layer.named_parameters()))
        for layer in (ours, theirs)
    )
    assert_near(got, want)


def test_it_begins_as_torchs() -> None:
    ours, theirs = LayerNorm(N).state_dict(), nn.LayerNorm(N).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_is_constant_becomes_the_shift() -> None:
    layer = LayerNorm(N)
    nn.init.normal_(layer.bias)
    assert torch.equal(layer(torch.full((2, N), 5.0)), layer.bias.expand(2, N))
