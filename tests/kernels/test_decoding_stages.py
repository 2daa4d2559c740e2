"""The stages of sampling and the draw in C++ against ops/sampling.py, which says what they are."""

import math
import random
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from budgets import amount, torture
from carousel.kernels import decoding, fused
from carousel.ops.sampling import Settings, draw, stages, uniform

pytestmark = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)

EPS = torch.finfo(torch.float64).eps
ROUNDING = 1e-12  # of log p, times 1 + |log p|; of what is summed over V: V·EPS is 1e-12 at most
US = (0.0, 2.0**-53, 0.5, 1 - 2.0**-53)  # beside drawn ones


def normal(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return 3 * torch.randn(shape, generator=generator)


def tied(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return torch.randn(shape, generator=generator).round()


def equal(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return torch.full(shape, 0.1)


def lacking(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    """Most tokens are impossible; never all of them."""
    logits = normal(generator, shape)
    is_gone = torch.rand(shape, generator=generator) < 0.8
    is_gone[:, torch.randint(shape[1], (1,), generator=generator)] = False
    return logits.masked_fill(is_gone, -math.inf)


def certain(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    token = torch.randint(shape[1], (shape[0], 1), generator=generator)
    return torch.full(shape, -math.inf).scatter(1, token, -7.0)


def far(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    """All far from 0 together: so a constant is added."""
    return normal(generator, shape) + 1e4


def huge(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return 1e30 * torch.randn(shape, generator=generator).round()


def tiny(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return 1e-30 * torch.randn(shape, generator=generator)


KINDS = (normal, tied, equal, lacking, certain, far, huge, tiny)
TEMPERATURES = (0, 5e-324, 1e-300, 1e-30, 1e-3, 0.3, 0.8, 1, 1.5, 50, 1e10, 1e300)
TOP_P = (5e-324, 1e-9, 0.217, 0.5, 0.9, 0.999, 1 - 1e-9, 1 - 2.0**-53, 1)
MIN_P = (0, 5e-324, 1e-5, 0.05, 0.3, 0.97, 1)
PENALTIES = (1, 1, 1.2, 5e-324, 0.5, 3, 100)


def some_settings(rng: random.Random, v: int) -> Settings:
    """Each stage off about every other time: so it is seen alone too."""
    return Settings(
        repetition_penalty=rng.choice(PENALTIES),
        temperature=rng.choice([1, rng.choice(TEMPERATURES)]),
        top_k=rng.choice([None, rng.choice([1, 2, 3, 40, v - 1, v, v + 1, 10**400]) or 1]),
        top_p=rng.choice([1, rng.choice(TOP_P)]),
        min_p=rng.choice([0, rng.choice(MIN_P)]),
    )


class Wanted(NamedTuple):
    """What ops/ makes of one row of logits.

    Attributes:
        log_p: After the last stage.
        rounding: How far from it rounding may lead. T divides the rounding of what it divides.
        is_decided: Whether no token is within rounding of a limit at which a stage cuts; tokens
            that are equal to begin with and in the same window are not: their ids decide.
    """

    log_p: Tensor
    rounding: Tensor
    is_decided: bool


def wanted(logits: Tensor, recent: Tensor, s: Settings) -> Wanted:
    after = stages(logits, recent, s)
    log_p = after["min_p"]
    tempered = [finite(after[name]).abs() for name in ("model", "repetition_penalty")]
    size = tempered[0] * max(1, s.repetition_penalty) + tempered[1]
    best = int(after["repetition_penalty"].argmax())
    is_frozen = s.temperature < 1e-10  # all but the best, and what ties with it, are lost
    sharpness = 0 if is_frozen or s.temperature == 1 else 1 / s.temperature
    rounding = ROUNDING * (1 + finite(log_p).abs()) + 8 * EPS * (size + size[best]) * sharpness
    kind = torch.stack([after["model"], recent.double()])

    def is_clear(log_p: Tensor, limit: float, token: int) -> bool:
        is_near = (log_p - limit).abs() <= 2 * rounding
        is_equal = (kind == kind[:, token : token + 1]).all(0)
        return not bool((is_near & ~is_equal & log_p.isfinite()).any())

    source = after["repetition_penalty"]
    is_decided = not is_frozen or is_clear(source, float(source[best]), best)
    if s.top_k is not None and s.top_k < len(logits):
        last = int(after["temperature"].argsort(descending=True, stable=True)[s.top_k - 1])
        limit = float(after["temperature"][last])
        is_decided &= limit == -math.inf or is_clear(after["temperature"], limit, last)
    if s.top_p < 1:
        ranked = after["top_k"].argsort(descending=True, stable=True)
        mass = after["top_k"][ranked].exp()
        mass_before = mass.cumsum(0) - mass
        slack = ROUNDING + float((mass * rounding[ranked].clamp(max=1)).sum())
        is_decided &= not bool(((mass_before - s.top_p).abs() <= slack)[mass > 0].any())
        last = int(ranked[(mass_before < s.top_p).sum() - 1])
        is_decided &= is_clear(after["top_k"], float(after["top_k"][last]), last)
    if s.min_p > 0:
        top = int(after["top_p"].argmax())
        limit = float(after["top_p"][top]) + math.log(s.min_p)
        is_decided &= is_clear(after["top_p"], limit, top)
    return Wanted(log_p, rounding, is_decided)


def finite(log_p: Tensor) -> Tensor:
    return log_p.masked_fill(log_p.isinf(), 0)


class Count(NamedTuple):
    rows: int
    decided: int
    other_ids: int


def compare(seed: int, v: int, rows: int) -> Count:
    """Rows of one call, each with settings of its own."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    each = [rng.choice(KINDS)(generator, (1, v)) for _ in range(rows)]
    logits, settings = torch.cat(each), [some_settings(rng, v) for _ in range(rows)]
    recent = torch.rand(rows, v, generator=generator) < rng.choice([0, 0.3, 1])
    counts = recent.int() * torch.randint(1, 4, (rows, v), generator=generator)
    u = torch.rand(rows, generator=generator, dtype=torch.float64)
    u[: len(US)] = torch.tensor(US, dtype=torch.float64)
    stage_rows = torch.tensor([decoding.settings_row(s) for s in settings], dtype=torch.float64)
    ids, got = decoding.choose(logits, counts.int(), stage_rows, u)
    decided = others = 0
    for row, (z, s) in enumerate(zip(logits, settings, strict=True)):
        said = f"seed {seed}, row {row}, V {v}: {s}"
        token, log_p = int(ids[row]), got[row]
        assert log_p[token] > -math.inf, said  # never one that was taken away
        assert abs(float(log_p.exp().sum()) - 1) < ROUNDING * v, said
        if s.top_k is not None and s.top_k < v:
            assert int(log_p.isfinite().sum()) <= s.top_k, said
        want = wanted(z, recent[row], s)
        if not want.is_decided:
            continue
        decided += 1
        p = want.log_p.exp()
        assert_near(log_p, want, said)
        cumulative = p.cumsum(0) / p.sum()
        slack = ROUNDING + float((p * want.rounding.clamp(max=1)).sum())
        before = float(cumulative[token] - p[token] / p.sum())
        assert before - slack <= float(u[row]) <= float(cumulative[token]) + slack, said
        if row >= len(US):  # of equal shares 1/2 is a boundary itself
            others += token != int(draw(p, u[row]))
    return Count(rows, decided, others)


def assert_near(log_p: Tensor, want: Wanted, said: str) -> None:
    is_kept = want.log_p.exp() > 0  # less is no probability, of which only that is asked
    assert torch.equal(log_p.exp() > 0, is_kept), said
    error = (log_p - want.log_p)[is_kept].abs()
    assert bool((error <= want.rounding[is_kept]).all()), f"{said}: {error.max():.1e}"


@torture
@pytest.mark.parametrize(
    ("v", "rows"), [(1, 40), (2, 100), (3, 100), (7, 150), (16, 150), (86, 400), (5000, 60)]
)
def test_stages_and_draw_are_those_of_ops(v: int, rows: int) -> None:
    counts = [compare(seed, v, rows) for seed in range(amount(3, 100))]
    total, decided, others = (sum(column) for column in zip(*counts, strict=True))
    assert decided > 0.7 * total  # the rest are cut within rounding
    assert others <= 1 + total // 1000  # u was that near to a boundary


def test_the_stages_by_hand() -> None:
    """The page's example, math/sampling/equations.md."""
    logits = (torch.tensor([[8.0, 4, 2, 1, 1]]) / 16).log()
    recent = torch.tensor([[2, 0, 0, 0, 0]], dtype=torch.int32)
    s = Settings(repetition_penalty=2, temperature=0.5, top_k=4, top_p=0.95, min_p=0.5)
    row = torch.tensor([decoding.settings_row(s)], dtype=torch.float64)
    for u, token in ((0.0, 0), (0.49, 0), (0.51, 1), (0.999, 1)):
        ids, log_p = decoding.choose(logits, recent, row, torch.tensor([u], dtype=torch.float64))
        assert ids.tolist() == [token]
        half, none = math.log(0.5), -math.inf
        want = torch.tensor([[half, half, none, none, none]], dtype=torch.float64)
        torch.testing.assert_close(log_p, want, rtol=0, atol=1e-7)  # logs in single precision


def test_a_constant_added_to_the_logits_changes_nothing() -> None:
    """Of numbers that single precision holds with the constant too: to the rounding of doubles."""
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    logits = (8 * torch.randn(200, 50, generator=generator)).round() / 16
    settings = [some_settings(rng, 50) for _ in logits]
    settings = [s._replace(temperature=1) if 0 < s.temperature < 1e-3 else s for s in settings]
    rows = torch.tensor([decoding.settings_row(s) for s in settings], dtype=torch.float64)
    counts = torch.randint(0, 2, (200, 50), generator=generator, dtype=torch.int32)
    u = torch.rand(200, generator=generator, dtype=torch.float64)
    ids, log_p = decoding.choose(logits, counts, rows, u)
    for constant in (-4096.0, 3.0, 65536.0):
        again, shifted = decoding.choose(logits + constant, counts, rows, u)
        assert torch.equal(ids, again)
        torch.testing.assert_close(shifted, log_p, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("v", [1, 2, 8, 9, 86])
def test_logits_that_define_no_distribution_draw_nothing(v: int) -> None:
    bad = [[spoilt] + [0.0] * (v - 1) for spoilt in (math.nan, math.inf)]
    bad += [row[::-1] for row in bad] + [[-math.inf] * v] + [[math.nan] * v]
    good = [0.0] * (v - 1) + [1.0]
    logits = torch.tensor([good, *bad, good])
    n = len(logits)
    harmless = torch.tensor([decoding.settings_row(Settings())] * n, dtype=torch.float64)
    ids, _ = decoding.choose(
        logits, torch.zeros(n, v, dtype=torch.int32), harmless, torch.full((n,), 0.999).double()
    )
    assert ids.tolist() == [v - 1] + [-1] * len(bad) + [v - 1]


WORDS = (0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


def test_the_random_number_of_a_draw_is_that_of_ops_to_the_bit() -> None:
    rng = random.Random(0)
    words = [(s, n, t) for s in WORDS for n in WORDS for t in (0, 1, 2**32, 2**63)]
    words += [tuple(rng.randrange(2**64) for _ in range(3)) for _ in range(500)]
    for word in words:
        signed = [x - 2**64 if x >= 2**63 else x for x in word]
        assert torch.ops.carousel.uniform(*signed) == uniform(*word), word
