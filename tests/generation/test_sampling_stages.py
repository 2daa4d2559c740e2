"""The stages of sampling: each against a plain enumeration, and what each of them promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carousel.ops.sampling import (
    Settings,
    apply_temperature,
    distribution,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    log_probabilities,
    penalise_repetition,
    present,
    stages,
)


def logs(*weights: float) -> torch.Tensor:
    """Return log p of the distribution in proportion to the weights."""
    return log_probabilities(torch.tensor(weights, dtype=torch.float64).log())


def mask(*ids: int, size: int) -> torch.Tensor:
    return present(torch.tensor(ids, dtype=torch.long), size)


def assert_is(log_p: torch.Tensor, *weights: float) -> None:
    want = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(log_p.exp(), want / want.sum(), rtol=1e-14, atol=1e-15)


def test_the_worked_example_of_the_equations() -> None:
    p = torch.tensor([8.0, 4.0, 2.0, 1.0, 1.0])
    settings = Settings(repetition_penalty=2, temperature=0.5, top_k=4, top_p=0.95, min_p=0.5)
    after = stages(p.log(), mask(0, size=5), settings)
    # float32 logits: log(8) and so on are rounded, the stages are not
    want = {
        "model": [8, 4, 2, 1, 1],
        "repetition_penalty": [4, 4, 2, 1, 1],
        "temperature": [16, 16, 4, 1, 1],
        "top_k": [16, 16, 4, 1, 0],
        "top_p": [4, 4, 1, 0, 0],
        "min_p": [1, 1, 0, 0, 0],
    }
    assert list(after) == list(want)
    for name, weights in want.items():
        expected = torch.tensor(weights, dtype=torch.float64)
        torch.testing.assert_close(
            after[name].exp(), expected / expected.sum(), rtol=1e-6, atol=0, msg=name
        )
    torch.testing.assert_close(
        distribution(p.log(), mask(0, size=5), settings), after["min_p"].exp(), rtol=0, atol=0
    )


def enumerated(weights: list[int], recent: set[int], s: Settings) -> list[float]:
    """The equations once more, token by token in plain Python."""
    p = [w / sum(weights) for w in weights]
    p = [q**s.repetition_penalty if i in recent else q for i, q in enumerate(p)]
    p = [q / sum(p) for q in p]
    if s.temperature == 0:
        best = p.index(max(p))
        p = [float(i == best) for i in range(len(p))]
    else:
        p = [(q / max(p)) ** (1 / s.temperature) for q in p]
    p = [q / sum(p) for q in p]
    by_rank = sorted(range(len(p)), key=lambda i: (-p[i], i))
    kept = by_rank[: s.top_k]
    p = [q if i in kept else 0.0 for i, q in enumerate(p)]
    p = [q / sum(p) for q in p]
    mass, kept = 0.0, []
    for i in by_rank:
        if mass >= s.top_p:
            break
        kept.append(i)
        mass += p[i]
    p = [q if i in kept else 0.0 for i, q in enumerate(p)]
    p = [q / sum(p) for q in p]
    p = [q if q >= s.min_p * max(p) else 0.0 for q in p]
    return [q / sum(p) for q in p]


@given(
    weights=st.lists(st.integers(1, 7), min_size=1, max_size=7),
    recent=st.sets(st.integers(0, 6)),
    settings=st.builds(
        Settings,
        repetition_penalty=st.sampled_from([0.53, 1.0, 1.3, 1.9]),
        temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        top_k=st.sampled_from([None, 1, 2, 3, 100]),
        # no penalty, mass or fraction at which two of these could tie: the last bit would decide
        top_p=st.sampled_from([1e-9, 0.3001, 0.7003, 0.90007, 1.0]),
        min_p=st.sampled_from([0.0, 0.10003, 0.6007]),
    ),
)
def test_the_stages_are_the_equations(
    weights: list[int], recent: set[int], settings: Settings
) -> None:
    recent = {i for i in recent if i < len(weights)}
    logits = torch.tensor(weights, dtype=torch.float64).log()
    got = distribution(logits, mask(*recent, size=len(weights)), settings)
    want = torch.tensor(enumerated(weights, recent, settings), dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_off_means_the_model_as_it_is() -> None:
    logits = torch.randn(9)
    got = distribution(logits, mask(1, 2, size=9), Settings())
    torch.testing.assert_close(got, torch.softmax(logits.double(), -1), rtol=1e-14, atol=0)


def test_the_penalty_does_not_depend_on_a_constant_added_to_the_logits() -> None:
    logits, recent = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64), mask(0, size=3)
    for shift in (0.0, 5.0, -5.0):
        p = distribution(logits + shift, recent, Settings(repetition_penalty=1.3))
        assert p[0].item() == pytest.approx(0.683, abs=5e-4)  # math/sampling/equations.md

    def on_logits(shift: float) -> float:  # the usual form, for the figures of the same page
        z = [2 + shift, 1 + shift, -1 + shift]
        z[0] = z[0] / 1.3 if z[0] > 0 else z[0] * 1.3
        return math.exp(z[0]) / sum(map(math.exp, z))

    figures = [on_logits(0), on_logits(5), on_logits(-5)]
    assert figures == pytest.approx([0.601, 0.322, 0.493], abs=5e-4)


def test_the_penalty_counts_a_token_once() -> None:
    log_p = logs(5, 3, 2)
    once = penalise_repetition(log_p, mask(1, size=3), 1.7)
    often = penalise_repetition(log_p, mask(1, 1, 1, size=3), 1.7)
    torch.testing.assert_close(often, once, rtol=0, atol=0)
    assert once[1] < log_p[1]
    assert penalise_repetition(log_p, mask(1, size=3), 0.5)[1] > log_p[1]
    torch.testing.assert_close(once[0] - once[2], log_p[0] - log_p[2])  # the others keep their odds


def test_temperature_is_boltzmann() -> None:
    log_p = logs(9, 4, 1)
    assert_is(apply_temperature(log_p, 0.5), 81, 16, 1)
    assert_is(apply_temperature(log_p, 2.0), 3, 2, 1)
    assert_is(apply_temperature(log_p, 1e300), 1, 1, 1)


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-9])
def test_cold_is_greedy(temperature: float) -> None:
    assert_is(apply_temperature(logs(3, 5, 4), temperature), 0, 1, 0)


def test_temperature_0_takes_the_lowest_id_of_equals() -> None:
    assert_is(apply_temperature(logs(1, 2, 2, 2), 0), 0, 1, 0, 0)


@pytest.mark.parametrize("size", [5, 300])  # long enough for a sort that is not stable by itself
def test_top_k_keeps_exactly_k_on_ties_the_lower_ids(size: int) -> None:
    for k in range(1, size, max(1, size // 11)):
        assert_is(keep_top_k(logs(*[1] * size), k), *[1] * k, *[0] * (size - k))
    assert_is(keep_top_k(logs(1, 4, 2, 4, 2), 3), 0, 4, 2, 4, 0)


def test_top_k_beyond_the_vocabulary_keeps_all() -> None:
    log_p = logs(1, 2, 3)
    assert keep_top_k(log_p, 3) is log_p
    assert keep_top_k(log_p, 10**30) is log_p


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    log_p = logs(10, 40, 30, 20)
    assert_is(keep_top_p(log_p, 1e-300), 0, 1, 0, 0)
    assert_is(keep_top_p(log_p, 0.39), 0, 1, 0, 0)
    assert_is(keep_top_p(log_p, 0.41), 0, 4, 3, 0)
    assert_is(keep_top_p(log_p, 0.69), 0, 4, 3, 0)
    assert_is(keep_top_p(log_p, 0.71), 0, 4, 3, 2)
    assert_is(keep_top_p(log_p, 0.99), 1, 4, 3, 2)
    assert_is(keep_top_p(logs(1, 1, 1, 1), 0.4), 1, 1, 0, 0)


def test_top_p_reached_exactly_is_reached() -> None:
    assert_is(keep_top_p(torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log(), 0.5), 1, 0, 0)


def test_min_p_is_relative_to_the_best() -> None:
    log_p = logs(10, 40, 30, 20)
    assert_is(keep_min_p(log_p, 0.26), 0, 4, 3, 2)
    assert_is(keep_min_p(log_p, 0.24), 1, 4, 3, 2)
    assert_is(keep_min_p(log_p, 1), 0, 1, 0, 0)
    assert_is(keep_min_p(logs(2, 1, 2), 1), 1, 0, 1)


def test_top_p_counts_what_top_k_left() -> None:
    # of (4, 3, 2, 1)/10 top-k leaves (4, 3)/7; then 4/7 reaches 0.5, where 4/10 would not
    got = distribution(
        torch.tensor([4.0, 3.0, 2.0, 1.0]).log(),
        mask(size=4),
        Settings(top_k=2, top_p=0.5),
    )
    assert got.tolist() == [1, 0, 0, 0]


def test_what_is_impossible_stays_impossible() -> None:
    logits = torch.tensor([0.0, -math.inf, 1.0])
    for settings in (
        Settings(repetition_penalty=100.0, temperature=1e300, top_k=2, top_p=0.999, min_p=1e-300),
        Settings(temperature=0),
    ):
        p = distribution(logits, mask(0, 1, 2, size=3), settings)
        assert p[1] == 0
        assert p.sum().item() == pytest.approx(1)


def test_extreme_logits_and_settings_still_give_a_distribution() -> None:
    logits = torch.tensor([3e38, -3e38, 3e38, 0.0])  # near the ends of float32
    for temperature in (0, 1e-300, 1, 1e300):
        settings = Settings(repetition_penalty=100, temperature=temperature)
        p = distribution(logits, mask(0, 1, 2, 3, size=4), settings)
        assert p.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "logits", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf]], ids=str
)
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_without_a_distribution_are_refused(logits: list[float], temperature: float) -> None:
    with pytest.raises(ValueError, match="define no distribution"):
        distribution(torch.tensor(logits), mask(size=2), Settings(temperature=temperature))


def test_rows_do_not_know_of_one_another() -> None:
    logits = torch.randn(3, 5, 41, generator=torch.Generator().manual_seed(1))
    recent = logits > 0.5
    settings = Settings(repetition_penalty=1.2, temperature=0.7, top_k=20, top_p=0.9, min_p=0.01)
    together = distribution(logits, recent, settings)
    for row, alone in enumerate(logits.flatten(0, 1)):
        want = distribution(alone, recent.flatten(0, 1)[row], settings)
        torch.testing.assert_close(together.flatten(0, 1)[row], want, rtol=1e-14, atol=1e-14)
