"""What the settings leave open is decided from the text; weights go from one model to another."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from carousel.data.batches import ContiguousBatches, RandomWindows
from carousel.data.vocabulary import Vocabulary
from carousel.errors import ConfigError, TextError
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import TrainedModel
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.training.config import RunConfig, TrainingConfig
from carousel.training.setup import (
    choose_precision,
    fit_time_limit,
    init_from,
    new_trainer,
    resolve,
    threads_for,
)
from training.small_runs import TRAIN, VOCABULARY, settings

WIDE = {"model": "transformer", "embedding_size": 4, "num_heads": 2}
OPEN = RunConfig(training=TrainingConfig(batch_size=4, sequence_length=10))


def test_what_is_open_is_decided_from_the_text() -> None:
    small, large = resolve(OPEN, 159).training, resolve(OPEN, 10_000_000).training
    assert (small.batching, large.batching) == ("windows", "lanes")  # 4 windows a lane
    assert resolve(OPEN, 160).training.batching == "lanes"
    assert small.steps == 102_400
    assert small.eval_every == small.save_every == 102_400 // 20
    assert small.sample_every == 4 * small.eval_every


def test_what_is_given_stays() -> None:
    given = settings(steps=7, eval_every=2, save_every=3, sample_every=0, batching="windows")
    assert resolve(given, 10**6) == given


@pytest.mark.parametrize(
    ("family", "rate"),
    [("rnn", 8e-3), ("gru", 8e-3), ("lstm", 8e-3), ("mlp", 8e-3), ("transformer", 2e-3)],
)
def test_a_family_has_a_learning_rate_of_its_own_unless_one_is_given(
    family: str, rate: float
) -> None:
    given = RunConfig(model=ModelConfig(model=family), training=OPEN.training)
    assert given.training.learning_rate is None
    assert resolve(given, 10**6).training.peak == rate
    beside = replace(given, training=replace(OPEN.training, optimizer="muon"))
    assert resolve(beside, 10**6).training.peak == 0.016
    asked = replace(given, training=replace(OPEN.training, learning_rate=1e-4))
    assert resolve(asked, 10**6).training.peak == 1e-4


# Positions that end.

ENDING = {"model": "transformer", "context_length": 10}


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_that_end_are_trained_in_windows(positions: str) -> None:
    given = replace(OPEN, model=ModelConfig(**ENDING, positions=positions))
    assert resolve(given, 10**7).training.batching == "windows"
    endless = replace(OPEN, model=ModelConfig(**ENDING))
    assert resolve(endless, 10**7).training.batching == "lanes"


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"batching": "lanes"},
            "batching lanes reads on without end, and learned positions end after context_length "
            "10: batching windows would work",
        ),
        (
            {"sequence_length": 11},
            "learned positions end after context_length 10, and sequence_length is 11",
        ),
    ],
)
def test_a_window_beyond_the_positions_is_refused(training: dict[str, Any], message: str) -> None:
    given = RunConfig(
        model=ModelConfig(**ENDING, positions="learned"),
        training=replace(OPEN.training, **training),
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        resolve(given, 10**6)
    resolve(replace(given, model=ModelConfig(**ENDING)), 10**6)  # rotary reads on


def test_threads_follow_the_largest_product() -> None:
    """Of a recurrence, the product of one time step; else, of all positions at once."""

    def threads(**model: Any) -> int:
        sizes = {"hidden_size": 256, "embedding_size": 64} | model
        training = TrainingConfig(batch_size=16, sequence_length=64)
        return threads_for(RunConfig(model=ModelConfig(**sizes), training=training), 100)

    assert threads() == threads(model="gru") == 16 * 256 * 4 * 256 // 1_000_000 == 4
    assert threads(model="mlp") == 16 * 64 * 256 * 64 // 1_000_000 == 16
    assert threads(model="transformer", hidden_size=8) == 1


def test_a_short_run_validates_every_25_steps() -> None:
    assert resolve(settings(steps=60, eval_every=None), 800).training.eval_every == 25


@pytest.mark.parametrize(("batching", "needed"), [("lanes", 22), ("windows", 8)])
def test_a_text_too_short_says_what_would_work(batching: str, needed: int) -> None:
    config = resolve(settings(batching=batching), needed)
    new_trainer(config, len(VOCABULARY), TRAIN[:needed], "cpu")
    with pytest.raises(
        TextError, match=rf"the text has {needed - 1} .* a smaller --sequence-length"
    ):
        new_trainer(config, len(VOCABULARY), TRAIN[: needed - 1], "cpu")


def test_lanes_and_windows() -> None:
    for batching, kind in (("lanes", ContiguousBatches), ("windows", RandomWindows)):
        config = resolve(settings(batching=batching), len(TRAIN))
        assert isinstance(new_trainer(config, len(VOCABULARY), TRAIN, "cpu").batches, kind)


def test_a_time_limit_shortens_the_schedule() -> None:
    given = settings(steps=1000, time_limit=10.0, eval_every=None)
    resolved = resolve(given, 800)
    assert fit_time_limit(given, resolved, 800, seconds=0.0064) is resolved  # it fits
    shorter = fit_time_limit(given, resolved, 800, seconds=0.02).training
    assert (shorter.steps, shorter.eval_every) == (325, 25)
    assert fit_time_limit(given, resolved, 800, seconds=100.0).training.steps == 1
    unlimited = settings(steps=1000)
    assert (
        fit_time_limit(unlimited, resolve(unlimited, 800), 800, seconds=1e9).training.steps == 1000
    )


# From another model's weights.


def model(text: str, **sizes: Any) -> tuple[LanguageModel, Vocabulary]:
    vocabulary = Vocabulary.from_text(text)
    config = ModelConfig(**{"embedding_size": 3, "hidden_size": 4, **sizes})
    fresh = build(config, len(vocabulary))
    for parameter in fresh.parameters():
        torch.nn.init.normal_(parameter)
    return fresh, vocabulary


def source(text: str, **sizes: Any) -> TrainedModel:
    return TrainedModel(*model(text, **sizes), {}, Path("old"))


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_layers": 2},
        {"embedding_size": 4, "tie_weights": True},
        {"model": "mlp", "context_length": 2},
        {"model": "transformer", "embedding_size": 4, "num_heads": 2, "positions": "learned"},
    ],
)
def test_weights_go_to_the_same_characters(sizes: dict[str, Any]) -> None:
    old, (new, vocabulary) = source("bcde", **sizes), model("abcd", **sizes)
    fresh = {name: p.detach().clone() for name, p in new.named_parameters()}
    assert init_from(old, new, vocabulary) == 3
    given = dict(old.model.named_parameters())
    for name, p in new.named_parameters():
        if not name.startswith(("embedding", "output")):
            assert torch.equal(p, given[name]), name
            continue
        for character, row in vocabulary.stoi.items():
            known = old.vocabulary.stoi.get(character)
            expected = fresh[name][row] if known is None else given[name][known]
            assert torch.equal(p[row], expected), f"{name} of {character}"


def test_no_character_in_common_takes_what_is_not_of_characters() -> None:
    old, (new, vocabulary) = source("ab"), model("cd")
    assert init_from(old, new, vocabulary) == 0
    weights = dict(new.named_parameters())["body.recurrence.weight_hh_l0"]
    assert torch.equal(weights, dict(old.model.named_parameters())["body.recurrence.weight_hh_l0"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            {"hidden_size": 5},
            {},
            "body.recurrence.weight_ih_l0 is (20, 3) in old, (16, 3) with these",
        ),
        (
            {"embedding_size": 5},
            {},
            "embedding.weight is (2, 5) in old, (2, 3) with these settings",
        ),
        ({}, {"num_layers": 2}, "only this model has body.recurrence.bias_hh_l1"),
        ({"num_layers": 2}, {}, "only old has body.recurrence.bias_hh_l1"),
        (
            {"embedding_size": 4, "tie_weights": True},
            {"embedding_size": 4},
            "only this model has output.weight",
        ),
        (
            {"model": "mlp", "context_length": 2},
            {"model": "mlp", "context_length": 3},
            "body.layers.0.weight is (4, 6) in old, (4, 9) with these settings",
        ),
        (WIDE, {**WIDE, "positions": "learned"}, "only this model has body.places"),
        (
            {**WIDE, "positions": "learned", "context_length": 5},
            {**WIDE, "positions": "learned", "context_length": 6},
            "body.places is (5, 4) in old, (6, 4) with these settings",
        ),
        ({}, {"model": "mlp"}, "only this model has body.layers.0.bias"),
    ],
)
def test_another_shape_is_refused(old: dict[str, Any], new: dict[str, Any], message: str) -> None:
    target, vocabulary = model("ab", **new)
    with pytest.raises(ConfigError, match=re.escape(message)):
        init_from(source("ab", **old), target, vocabulary)


# Precision.


def with_precision(precision: str = "auto", **model: object) -> RunConfig:
    return RunConfig(model=ModelConfig(**model), training=TrainingConfig(precision=precision))


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "unavailable_reason", lambda product: None)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ({"model": "lstm"}, "bf16"),
        ({"model": "rnn", "nonlinearity": "relu"}, "bf16"),
        ({"model": "gru", "reset_after": False}, "bf16"),
        ({"model": "lstm", "peephole": True}, "float32"),
        ({"model": "lstm", "zoneout": 0.1}, "float32"),
        ({"model": "mlp"}, "float32"),
        ({"model": "transformer"}, "float32"),
    ],
)
def test_auto_takes_bf16_where_there_is_a_kernel(model: dict[str, Any], precision: str) -> None:
    assert choose_precision(with_precision(**model), "cpu") == precision


@pytest.mark.usefixtures("native")
def test_auto_takes_float32_on_other_devices() -> None:
    assert choose_precision(with_precision(), "cuda") == "float32"


def test_auto_takes_float32_where_bf16_is_not_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fused, "unavailable_reason", lambda product: "the processor does not multiply it"
    )
    assert choose_precision(with_precision(), "cpu") == "float32"


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_a_precision_that_is_named_is_taken(precision: str) -> None:
    assert choose_precision(with_precision(precision, model="transformer"), "cuda") == precision
