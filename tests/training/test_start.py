"""What the settings leave open is decided from the text; weights go from one model to another."""

import re
from pathlib import Path

import pytest
import torch

from carousel.errors import ConfigError, TextError
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import TrainedModel
from carousel.models.config import ModelConfig
from carousel.models.recurrent import build
from carousel.text.batches import Lanes, RandomWindows
from carousel.text.vocabulary import Vocabulary
from carousel.training.config import RunConfig, TrainingConfig
from carousel.training.start import new_trainer, resolve, shorten, transplant
from training.small_runs import TRAIN, VOCABULARY, settings

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
    for batching, kind in (("lanes", Lanes), ("windows", RandomWindows)):
        config = resolve(settings(batching=batching), len(TRAIN))
        assert isinstance(new_trainer(config, len(VOCABULARY), TRAIN, "cpu").batches, kind)


def test_a_time_limit_shortens_the_schedule() -> None:
    given = settings(steps=1000, time_limit=10.0, eval_every=None)
    resolved = resolve(given, 800)
    assert shorten(given, resolved, 800, seconds=0.0059) is resolved  # it fits into three fifths
    shorter = shorten(given, resolved, 800, seconds=0.02).training
    assert (shorter.steps, shorter.eval_every) == (300, 25)
    assert shorten(given, resolved, 800, seconds=100.0).training.steps == 1
    unlimited = settings(steps=1000)
    assert shorten(unlimited, resolve(unlimited, 800), 800, seconds=1e9).training.steps == 1000


# From another model's weights.


def model(text: str, **sizes: int | bool) -> tuple[LanguageModel, Vocabulary]:
    vocabulary = Vocabulary.from_text(text)
    config = ModelConfig(**{"embedding_size": 3, "hidden_size": 4, **sizes})
    fresh = build(config, len(vocabulary))
    for parameter in fresh.parameters():
        torch.nn.init.normal_(parameter)
    return fresh, vocabulary


def source(text: str, **sizes: int | bool) -> TrainedModel:
    return TrainedModel(*model(text, **sizes), {}, Path("old"))


@pytest.mark.parametrize(
    "sizes", [{}, {"num_layers": 2}, {"embedding_size": 4, "tie_weights": True}]
)
def test_weights_go_to_the_same_characters(sizes: dict[str, int | bool]) -> None:
    old, (new, vocabulary) = source("bcde", **sizes), model("abcd", **sizes)
    fresh = {name: p.detach().clone() for name, p in new.named_parameters()}
    assert transplant(old, new, vocabulary) == 3
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
    assert transplant(old, new, vocabulary) == 0
    weights = dict(new.named_parameters())["recurrence.weight_hh_l0"]
    assert torch.equal(weights, dict(old.model.named_parameters())["recurrence.weight_hh_l0"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"hidden_size": 5}, {}, "recurrence.weight_ih_l0 is (20, 3) in old, (16, 3) with these"),
        (
            {"embedding_size": 5},
            {},
            "embedding.weight is (2, 5) in old, (2, 3) with these settings",
        ),
        ({}, {"num_layers": 2}, "only this model has recurrence.bias_hh_l1"),
        ({"num_layers": 2}, {}, "only old has recurrence.bias_hh_l1"),
        (
            {"embedding_size": 4, "tie_weights": True},
            {"embedding_size": 4},
            "only this model has output.weight",
        ),
    ],
)
def test_another_shape_is_refused(
    old: dict[str, int | bool], new: dict[str, int | bool], message: str
) -> None:
    target, vocabulary = model("ab", **new)
    with pytest.raises(ConfigError, match=re.escape(message)):
        transplant(source("ab", **old), target, vocabulary)
