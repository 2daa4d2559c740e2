"""Draws follow the distribution, and the numbers that decide them are Philox's."""

import random

import pytest
import torch
from scipy.stats import chisquare

from carousel.ops.sampling import Settings, distribution, draw, uniform

LAST = 1 - 2**-53  # the greatest number `uniform` can return
MASK = 2**64 - 1


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x64-10 as published: ten rounds, the key raised by Weyl constants between them."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        low0, high0 = (0xD2E7470EE14C6C93 * c0) & MASK, (0xD2E7470EE14C6C93 * c0) >> 64
        low1, high1 = (0xCA5A826395121157 * c2) & MASK, (0xCA5A826395121157 * c2) >> 64
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


@pytest.mark.parametrize(
    ("counter", "key", "block"),  # the known answers published with Random123
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
        ),
        (
            (MASK, MASK, MASK, MASK),
            (MASK, MASK),
            (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
        ),
    ],
)
def test_philox_above_is_the_published_one(
    counter: tuple[int, ...], key: tuple[int, ...], block: tuple[int, ...]
) -> None:
    assert philox(counter, key) == block


def test_uniform_is_the_first_word_at_counter_t_n_and_key_seed() -> None:
    rng = random.Random(0)
    edges = [0, 1, 2**32, MASK]
    cases = [(s, n, t) for s in edges for n in edges for t in edges]
    cases += [tuple(rng.getrandbits(64) for _ in "snt") for _ in range(100)]
    for seed, n, t in cases:
        word = philox((t, n, 0, 0), (seed, 0))[0]
        assert uniform(seed, n, t) == (word >> 11) / 2**53, (seed, n, t)


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, 1.0, 0.5, -3.0, 1.5])
    settings = Settings(repetition_penalty=1.5, temperature=0.9, top_k=5, top_p=0.97)
    p = distribution(logits, torch.tensor([0, 1, 0, 0, 1, 0, 0]).bool(), settings)
    kept = p > 0
    assert 2 < kept.sum() < 7
    count = 20_000
    for numbers in (
        [uniform(7, 0, t) for t in range(count)],  # one long sample
        [uniform(7, n, 3) for n in range(count)],  # one draw of many samples
        [uniform(seed, 0, 0) for seed in range(count)],  # the first draw under many seeds
    ):
        u = torch.tensor(numbers, dtype=torch.float64)
        tokens = draw(p.expand(count, -1), u)
        seen = torch.bincount(tokens, minlength=len(p))
        assert seen[~kept].sum() == 0
        assert chisquare(seen[kept], p[kept] * count).pvalue > 1e-3
        pairs = torch.bincount(tokens[::2] * len(p) + tokens[1::2], minlength=len(p) ** 2)
        both = kept.outer(kept).flatten()
        expected = p.outer(p).flatten() * (count // 2)
        assert expected[both].min() > 5
        assert chisquare(pairs[both], expected[both]).pvalue > 1e-3


def test_the_token_is_the_one_whose_interval_holds_u() -> None:
    p = torch.tensor([0.25, 0.0, 0.5, 0.25], dtype=torch.float64)
    u = torch.tensor([0.0, 0.2499, 0.25, 0.5, 0.7499, 0.75, LAST], dtype=torch.float64)
    assert draw(p.expand(len(u), -1), u).tolist() == [0, 0, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("u", [0.0, 2**-53, 0.5, LAST])
def test_never_a_token_of_probability_0(u: float) -> None:
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(2_000, 37, generator=generator, dtype=torch.float64)
    p[torch.rand(p.shape, generator=generator) < 0.6] = 0
    p[:, 0] = p[:, -1] = 0  # both ends, where rounding would show
    p = p / p.sum(dim=-1, keepdim=True)  # sums to 1 up to rounding, above and below
    assert (p.sum(dim=-1) != 1).any()
    tokens = draw(p, torch.full((len(p),), u, dtype=torch.float64))
    assert (p.gather(-1, tokens.unsqueeze(-1)) > 0).all()


def test_only_ratios_matter() -> None:
    p = torch.tensor([3.0, 1.0], dtype=torch.float64)
    u = torch.tensor([0.7499, 0.7501], dtype=torch.float64)
    for scale in (1e-300, 1.0, 1e300):
        assert draw((p * scale).expand(2, -1), u).tolist() == [0, 1]


def test_one_row_needs_no_batch() -> None:
    p = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert draw(p, torch.tensor(0.3, dtype=torch.float64)).item() == 1


@pytest.mark.parametrize("row", [[0.0, 0.0], [0.5, float("nan")]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    p = torch.tensor([[0.5, 0.5], row], dtype=torch.float64)
    with pytest.raises(ValueError, match="NaN, or are all 0"):
        draw(p, torch.zeros(2, dtype=torch.float64))
