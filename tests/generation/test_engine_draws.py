"""The comparison of experiments/decoding, in short: the kernel draws as the plain model does."""

import pytest
import torch

from budgets import amount, torture
from carousel.generation.config import SamplingConfig
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from experiments.decoding import run
from experiments.decoding.run import BOUND, SETTINGS, compare
from generation.writing import KINDS, lively

pytestmark = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)


def model_of(kind: str) -> LanguageModel:
    return lively(86, num_layers=2, embedding_size=16, hidden_size=64, **KINDS[kind])


@torture
@pytest.mark.parametrize(("kind", "name"), [*zip([*KINDS, "lstm"], SETTINGS, strict=True)])
def test_a_draw_that_differs_is_one_of_rounding(kind: str, name: str) -> None:
    config = SamplingConfig(seed=3, **SETTINGS[name])  # type: ignore[arg-type]
    found = compare(model_of(kind), config, 32, amount(105, 5_000))
    assert found.draws == 32 * amount(105, 5_000)
    assert found.farthest <= BOUND
    assert found.differing <= 2 + found.draws / 10_000


def other_window(model: LanguageModel, config: SamplingConfig, ids: torch.Tensor):
    return TRUE(model, SamplingConfig(**vars(config) | {"repetition_window": 63}), ids)


def other_temperature(model: LanguageModel, config: SamplingConfig, ids: torch.Tensor):
    changed = {"temperature": config.temperature * 1.001}
    return TRUE(model, SamplingConfig(**vars(config) | changed), ids)


TRUE = run.distributions


@pytest.mark.parametrize("spoilt", [other_window, other_temperature])
def test_the_comparison_sees_a_small_difference(spoilt, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SamplingConfig(seed=3, **SETTINGS["temperature 1, penalty 1.2 over 64"])
    assert compare(model_of("lstm"), config, 32, 105).differing == 0
    monkeypatch.setattr(run, "distributions", spoilt)
    found = compare(model_of("lstm"), config, 32, 105)
    assert found.differing > 0
    assert found.farthest > BOUND
