"""The draw: reproducible for ever, fair, and as near to the shares as whole units allow."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from carousel.data.assign_split import draw


def dealt(sizes: list[int], shares: list[int], seed: int = 0) -> list[list[int]]:
    """The sizes of the units of each part."""
    numbers = draw(np.array(sizes), shares, seed)
    return [[sizes[u] for u in np.flatnonzero(numbers == k)] for k in range(len(shares))]


def test_the_draw_never_changes() -> None:
    # Written down once: a run resumed years later, under another numpy, has the same parts.
    numbers = draw(np.full(24, 10), [160, 40, 40], seed=1)
    assert "".join(map(str, numbers)) == "200011010000000220010002"
    numbers = draw(np.arange(1, 25), [200, 60, 40], seed=2**64 - 1)
    assert "".join(map(str, numbers)) == "111101001002212000000100"


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    sizes = np.random.default_rng(0).integers(1, 99, size=200)
    shares = [int(sizes.sum()) - 1000, 500, 500]
    drawn = {draw(sizes, shares, seed).tobytes() for seed in range(20) for _ in range(2)}
    assert len(drawn) == 20


def test_every_unit_is_as_likely_as_another() -> None:
    counts = np.zeros((3, 20))
    for seed in range(2000):
        numbers = draw(np.full(20, 7), [84, 35, 21], seed)
        for k in range(3):
            counts[k] += numbers == k
    for part, count, expected in zip(range(3), counts, (12, 5, 3), strict=True):
        assert count.sum() == 2000 * expected
        assert chisquare(count).pvalue > 1e-3, part


@given(
    st.lists(st.integers(1, 300), min_size=3, max_size=60),
    st.tuples(st.integers(1, 97), st.integers(1, 97)),
    st.integers(0, 2**64 - 1),
)
def test_sizes_are_as_near_to_the_shares_as_whole_units_allow(
    sizes: list[int], percent: tuple[int, int], seed: int
) -> None:
    held_out = [sum(sizes) * p // 200 for p in percent]
    parts = dealt(sizes, [sum(sizes) - sum(held_out), *held_out], seed)
    assert sorted(chain(*parts)) == sorted(sizes)
    assert all(parts)
    left = [parts[0] + parts[2], parts[0]]  # when part 1, and then part 2, was full
    for share, own, rest, kept in zip(held_out, parts[1:], left, (2, 1), strict=True):
        if len(own) == 1 and own[0] > share:
            assert own[0] == min(own + rest)  # it had to have one
        elif len(rest) > kept:  # else it stopped to leave the others one each
            assert abs(sum(own) - share) <= min(rest) / 2


def test_a_unit_larger_than_a_share_is_not_held_out() -> None:
    for seed in range(50):
        train, validation, test = dealt([10] * 10 + [900] + [10] * 9, [980, 50, 60], seed)
        assert (sum(validation), sum(test)) == (50, 60)
        assert 900 in train


@pytest.mark.parametrize("shares", [[8, 1, 1], [1, 8, 1], [1, 1, 8], [0, 10, 0]])
def test_every_part_has_a_unit(shares: list[int]) -> None:
    for seed in range(20):
        assert all(dealt([1, 5, 4], shares, seed))
        assert all(dealt([4, 4, 1, 1], shares, seed))


def test_many_small_units_meet_the_shares_exactly() -> None:
    sizes = np.random.default_rng(0).integers(1, 1000, size=1_000_000)
    shares = [int(sizes.sum()) - 2 * 25_000_000, 25_000_000, 25_000_000]
    numbers = draw(sizes, shares, seed=0)
    for k in (1, 2):
        assert sizes[numbers == k].sum() == 25_000_000
