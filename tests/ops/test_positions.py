"""Positions: rotary ones know differences only, sinusoidal ones are the paper's."""

import math

import pytest
import torch
from torch import Tensor

from assertions import assert_near
from carousel.ops import attention
from carousel.ops.positions import angles, rotate, rotations, sinusoidal
from carousel.verify.op_spec import Case
from carousel.verify.positions import ROTARY
from hand_derived import by_hand, random, with_gradients

T, K = 5, 6


def turned(x: Tensor, positions: Tensor) -> Tensor:
    cos, sin = rotations(positions, x.shape[-1], x.dtype)
    return by_hand(Case(ROTARY, {}, {"x": x}, {"cos": cos, "sin": sin}))["y"]


def scores(q: Tensor, k: Tensor, start: int) -> Tensor:
    """Of queries and keys that stand at start, start + 1, …"""
    places = torch.arange(start, start + q.shape[-2])
    return turned(q, places) @ turned(k, places).mT


def test_angles_are_their_definition() -> None:
    places = [0, 1, 7, 10**6, 2**24 + 1]  # the last one is no float32
    got = angles(torch.tensor(places), K)
    want = [[i / 10_000 ** (2 * k / K) for k in range(K // 2)] for i in places]
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=1e-14, atol=0)


def test_sinusoidal_positions_are_the_papers_in_another_order() -> None:
    """Vaswani et al. 2017, section 3.5, where sine and cosine of an angle are neighbours."""
    positions = torch.tensor([0, 3, 1000])
    got = sinusoidal(positions, K, torch.float64)
    assert got.shape == (3, K)
    for row, i in zip(got, positions.tolist(), strict=True):
        for k in range(K // 2):
            angle = i / 10_000 ** (2 * k / K)
            assert row[k].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert row[K // 2 + k].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_a_step_is_the_same_rotation_from_everywhere() -> None:
    """Sine and cosine of i + n are a rotation, the same for all i, of those of i."""
    cos, sin = rotations(torch.tensor(3), K, torch.float64)
    sine, cosine = sinusoidal(torch.arange(40), K, torch.float64).chunk(2, dim=-1)
    moved = torch.cat([sine * cos + cosine * sin, cosine * cos - sine * sin], dim=-1)
    assert_near({"": moved}, {"": sinusoidal(torch.arange(3, 43), K, torch.float64)})


def test_a_rotation_is_a_product_of_complex_numbers() -> None:
    """Su et al. 2021, section 3.2.1: a pair of features times e^iθ; here features k and k + K/2."""
    x, positions = random(2, 3, T, K), torch.tensor([4, 0, 9, 2, 1000])

    def theirs(x: Tensor) -> Tensor:
        pairs = torch.complex(*x.chunk(2, dim=-1))
        y = pairs * torch.exp(1j * angles(positions, K))
        return torch.cat([y.real, y.imag], dim=-1)

    got = with_gradients(lambda x: turned(x, positions), x=x)
    assert_near(got, with_gradients(theirs, x=x))


def test_matches_finite_differences() -> None:
    assert torch.autograd.gradcheck(lambda x: turned(x, torch.tensor([4, 0, 9])), random(2, 3, K))


def test_the_reverse_turns_back() -> None:
    """And a rotation keeps lengths."""
    x = random(2, T, K)
    cos, sin = rotations(torch.arange(T) + 17, K, torch.float64)
    y = rotate(x, cos, sin)
    torch.testing.assert_close(rotate(y, cos, -sin), x, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), rtol=1e-13, atol=0)
    assert (y - x).norm() > 1


@pytest.mark.parametrize("start", [1, 1000, 10**6])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)], ids=str
)
def test_rotary_scores_depend_on_differences_alone(
    start: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Of 10⁶ radians float64 keeps ten digits after the point, and float32 one: so the angles."""
    q, k = random(2, T, K, dtype=dtype), random(2, T, K, seed=1, dtype=dtype)
    at_first = with_gradients(lambda q, k: scores(q, k, 0), q=q, k=k)
    later = with_gradients(lambda q, k: scores(q, k, start), q=q, k=k)
    assert_near(later, at_first, tolerance)
    moved = turned(q, torch.arange(T)) @ turned(k, torch.arange(T) + 1).mT
    assert (moved - at_first["y"]).norm() > 0.1 * at_first["y"].norm()


def test_with_positions_attention_knows_the_order() -> None:
    q, k, v = (random(2, 3, T, K, seed=s) for s in range(3))
    order, places = torch.tensor([3, 0, 4, 1, 2]), torch.arange(T)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention.forward(turned(q, places), turned(k, places), v)[0]

    permuted = attend(*(x[:, :, order] for x in (q, k, v)))
    assert (permuted - attend(q, k, v)[:, :, order]).abs().max() > 0.1


def test_no_two_positions_of_a_long_text_look_alike() -> None:
    vectors = sinusoidal(torch.arange(2000), 16, torch.float32)
    assert len(vectors.unique(dim=0)) == 2000
    distance = torch.cdist(vectors, vectors).fill_diagonal_(math.inf)
    assert distance.min() > 0.5
