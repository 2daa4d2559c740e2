"""FixedWindow against torch's Linear and tanh, window by window."""

import pytest
import torch
from torch import Tensor, nn

from assertions import assert_near
from carousel.nn.mlp import FixedWindow
from hand_derived import random, with_gradients

B, T, D, H = 3, 5, 4, 6


@pytest.mark.parametrize("window", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_it_is_a_linear_layer_on_each_window(window: int, dtype: torch.dtype) -> None:
    ours, linear = FixedWindow(D, H, window), nn.Linear(window * D, H)
    ours.load_state_dict(linear.state_dict())
    ours, linear = ours.to(dtype), linear.to(dtype)

    def theirs(x: Tensor, *_: Tensor) -> Tensor:
        side_by_side = x.unfold(1, window, 1).transpose(2, 3).flatten(2)  # (B, T, nD)
        return linear(side_by_side).tanh()

    x = random(B, window - 1 + T, D, dtype=dtype)
    got = with_gradients(lambda x, *_: ours(x), x=x, **dict(ours.named_parameters()))
    assert got["y"].shape == (B, T, H)
    assert_near(got, with_gradients(theirs, x=x, **dict(linear.named_parameters())))


def test_it_begins_as_torchs_linear_layer() -> None:
    torch.manual_seed(0)
    ours = FixedWindow(D, H, 3).state_dict()
    torch.manual_seed(0)
    bound = (3 * D) ** -0.5
    weight = torch.empty(H, 3 * D).uniform_(-bound, bound)
    assert torch.equal(ours["weight"], weight)
    assert torch.equal(ours["bias"], torch.empty(H).uniform_(-bound, bound))
    assert ours.keys() == nn.Linear(3 * D, H).state_dict().keys()


def test_its_repr_says_the_sizes() -> None:
    assert repr(FixedWindow(D, H, 3)) == "FixedWindow(4, 6, window=3)"
