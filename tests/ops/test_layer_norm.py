"""Layer normalisation and its reverse against the definition, torch and differences."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from assertions import assert_near
from carousel.ops import layer_norm
from carousel.verify.functions import LAYER_NORM
from carousel.verify.op_spec import Case
from hand_derived import by_hand, random, with_gradients

shapes = pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 5, 7), (0, 7)], ids=str)


def case(x: Tensor, gain: Tensor, shift: Tensor) -> Case:
    return Case(LAYER_NORM, {}, {"x": x, "gain": gain, "shift": shift}, {})


def ours(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return by_hand(case(x, gain, shift))["y"]


def theirs(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    assert LAYER_NORM.reference is not None
    return LAYER_NORM.reference(case(x, gain, shift))["y"]


def normalised(x: Tensor) -> Tensor:
    """Without gain and shift: there `normalise` stands alone."""
    return ours(x, x.new_ones(x.shape[-1]), x.new_zeros(x.shape[-1]))


def inputs(*shape: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    names = {"x": shape, "gain": shape[-1:], "shift": shape[-1:]}
    return {name: random(*s, seed=k, dtype=dtype) for k, (name, s) in enumerate(names.items())}


def test_is_its_definition() -> None:
    x, gain, shift = inputs(3, 5).values()
    y = layer_norm.forward(x, gain, shift)[0]
    for row, got in zip(x.tolist(), y.tolist(), strict=True):
        mean = math.fsum(row) / 5
        deviation = math.sqrt(math.fsum((u - mean) ** 2 for u in row) / 5 + 1e-5)
        want = [
            (u - mean) / deviation * gain[i].item() + shift[i].item() for i, u in enumerate(row)
        ]
        assert got == pytest.approx(want, rel=1e-12)


@shapes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_is_torchs_in_value_and_gradient(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given = inputs(*shape, dtype=dtype)
    assert_near(with_gradients(ours, **given), with_gradients(theirs, **given))


def test_matches_finite_differences() -> None:
    assert torch.autograd.gradcheck(ours, tuple(inputs(2, 3, 5).values()))
    assert torch.autograd.gradcheck(normalised, random(2, 3, 5))


def test_the_reverse_without_gain_is_torchs() -> None:
    x = random(4, 6)
    want = with_gradients(lambda x: F.layer_norm(x, [6]), x=x)
    assert_near(with_gradients(normalised, x=x), want)


def test_the_mean_is_zero_and_the_variance_one() -> None:
    unit, scale = layer_norm.normalise(1000 * random(4, 9) + 10)
    assert unit.mean(-1).abs().max() < 1e-14
    torch.testing.assert_close(
        unit.var(-1, correction=0), torch.ones(4).double(), rtol=1e-9, atol=0
    )
    assert scale.shape == (4, 1)


def test_shift_and_size_of_a_vector_do_not_matter() -> None:
    x = 1000 * random(4, 9)
    unit = layer_norm.normalise(x)[0]
    torch.testing.assert_close(layer_norm.normalise(7 * x - 3)[0], unit, rtol=1e-9, atol=0)


def test_no_gradient_along_what_does_not_matter() -> None:
    """It sums to zero over a vector, and has next to nothing along the vector itself."""
    x = 1000 * random(4, 9)
    unit, scale = layer_norm.normalise(x)
    dx = layer_norm.normalise_backward(random(4, 9, seed=1), unit, scale)
    assert dx.sum(-1).abs().max() < 1e-14 * dx.norm() * 10
    assert (dx * unit).sum(-1).abs().max() < 1e-6 * dx.norm()
    assert dx.norm() > 0


def test_a_vector_of_equal_numbers_is_zero_and_has_a_finite_gradient() -> None:
    """And the dtype of the input stays."""
    x = torch.full((2, 5), 3.0)
    unit, scale = layer_norm.normalise(x)
    assert not unit.any()
    dx = layer_norm.normalise_backward(torch.ones(2, 5), unit, scale)
    assert dx.isfinite().all()
    assert dx.dtype == torch.float32
