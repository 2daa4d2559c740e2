"""TextModel: the texts of `carousel sample`, the figure of `carousel eval`, a folder of its own."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import carousel
from carousel.data.vocabulary import Vocabulary
from carousel.errors import CheckpointError, ConfigError, RunError, TextError
from carousel.generation.config import SamplingConfig
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.server.app import create_app
from cli.commands import TEXT, command
from server.running import thread_engine

CHARACTERS = Vocabulary.from_text(TEXT)
FAMILIES = {
    "lstm": ModelConfig(embedding_size=5, hidden_size=12),
    "gru": ModelConfig(model="gru", embedding_size=5, hidden_size=12, num_layers=2, dropout=0.3),
    "mlp": ModelConfig(model="mlp", embedding_size=5, hidden_size=12, context_length=4),
    "transformer": ModelConfig(
        model="transformer", embedding_size=8, hidden_size=12, num_heads=2, context_length=32
    ),
    "learned": ModelConfig(
        model="transformer",
        embedding_size=8,
        hidden_size=12,
        num_heads=2,
        context_length=32,
        positions="learned",
    ),
}


def fresh(name: str) -> carousel.TextModel:
    """An untrained model, whose outputs are far from uniform."""
    torch.manual_seed(3)
    module = build(FAMILIES[name], len(CHARACTERS))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return carousel.TextModel(module.eval(), CHARACTERS, {"model": asdict(FAMILIES[name])})


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> carousel.TextModel:
    return fresh(request.param)


@pytest.fixture
def lstm() -> carousel.TextModel:
    return fresh("lstm")


# Texts.


def sampled(tmp_path: Path, *arguments: str) -> str:
    done = command(tmp_path, "sample", "model", *arguments)
    assert done.code == 0, done.err
    return done.out


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_texts_are_those_of_carousel_sample(name: str, tmp_path: Path) -> None:
    model = fresh(name)
    model.save(tmp_path / "model")
    plain = model.generate("the", length=30, temperature=0.7, seed=7)
    typed = sampled(
        tmp_path, "--prompt", "the", "--length", "30", "--temperature", "0.7", "--seed", "7"
    )
    assert typed.removesuffix("\n") == ("the" + plain).removesuffix("\n")
    how = {"top_p": 1.0, "candidates": 1, "precision": "float32", "stop": "og"}
    several = model.generate("a frog", length=30, n=3, **how)
    flags = ["--top-p", "1", "--candidates", "1", "--precision", "float32", "--stop", "og"]
    typed = sampled(tmp_path, "--prompt", "a frog", "--length", "30", "--num-samples", "3", *flags)
    texts = re.split(r"=== sample \d of 3 ===\n", typed)[1:]
    assert [text.removesuffix("\n") for text in texts] == [
        ("a frog" + text).removesuffix("\n") for text in several
    ]


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_texts_are_those_of_the_server(name: str) -> None:
    model = fresh(name)
    how = {"temperature": 0.7, "top_p": 0.9, "candidates": 3, "seed": 7, "n": 2}
    body = {"prompt": ["the", "a frog"], "max_tokens": 30, **how}
    with thread_engine(model.module, model.vocabulary, name="mine") as engine:
        answer = create_app([engine]).test_client().post("/v1/completions", json=body).json
    texts = model.generate(["the", "a frog"], length=30, precision="float32", **how)
    assert [choice["text"] for choice in answer["choices"]] == [t for each in texts for t in each]


@pytest.mark.parametrize("candidates", [1, 3])
def test_texts_of_a_batch_are_those_of_each_prompt_alone(
    model: carousel.TextModel, candidates: int
) -> None:
    how: dict[str, Any] = {"length": 20, "candidates": candidates, "seed": 5, "stop": ["ki"]}
    prompts = ["the", "", "a frog in"]
    batch = model.generate(prompts, n=2, **how)
    assert batch == [model.generate(prompt, n=2, **how) for prompt in prompts]
    assert batch == [
        ["".join(model.stream(prompt, sample=sample, **how)) for sample in range(2)]
        for prompt in prompts
    ]
    assert model.generate(prompts, **how) == [first for first, _ in batch]
    assert len({text for texts in batch for text in texts}) > 3


def test_a_stream_comes_in_pieces(lstm: carousel.TextModel) -> None:
    pieces = lstm.stream("the", length=200, candidates=1)
    first = next(pieces)
    assert 1 <= len(first) < 200
    assert len(first + "".join(pieces)) == 200


def test_the_prompt_is_not_repeated_and_the_length_is_kept(lstm: carousel.TextModel) -> None:
    assert len(lstm.generate("the king", length=7)) == 7
    assert len(lstm.generate(length=7)) == 7


def test_an_object_of_settings_is_taken_whole(lstm: carousel.TextModel) -> None:
    sampling = SamplingConfig(temperature=0.7, seed=4)
    expected = lstm.generate("the", length=30, temperature=0.7, top_p=1.0, candidates=1, seed=4)
    assert lstm.generate("the", length=30, sampling=sampling) == expected
    with pytest.raises(ConfigError, match="seed stands in the SamplingConfig"):
        lstm.generate("the", sampling=sampling, seed=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 1}, "no setting named temprature; perhaps you meant temperature"),
        ({"max_new_tokens": 3}, "no setting named max_new_tokens; perhaps you meant length"),
        ({"num_return_sequences": 3}, "perhaps you meant n$"),
        ({"temperature": -1}, "temperature must be a finite number, at least 0, got -1"),
        ({"length": 0}, "length must be a whole number, at least 1, got 0"),
        ({"n": 0}, "n must be a whole number, at least 1, got 0"),
        ({"stop": ""}, "stop must be strings of at least one character"),
        ({"precision": "half"}, "precision must be one of float32, bf16, got 'half'"),
        ({"on_unknown": "drop"}, "on_unknown must be one of error, skip, replace, got 'drop'"),
        ({"prompt": 7}, "prompt must be a str or a list of them, got int"),
        ({"prompt": ["a", 7]}, "a prompt must be a str, got int"),
    ],
)
def test_a_mistake_is_refused(
    lstm: carousel.TextModel, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        lstm.generate(**settings)


def test_mistakes_of_a_stream_are_refused_before_the_first_piece(lstm: carousel.TextModel) -> None:
    with pytest.raises(ConfigError, match="temprature"):
        lstm.stream("the", temprature=1)
    with pytest.raises(TextError, match="prompt: 'Ω'"):
        lstm.stream("Ω")


def test_unknown_characters_are_an_error_unless_something_else_is_asked_for(
    lstm: carousel.TextModel,
) -> None:
    with pytest.raises(TextError, match=r"prompt: 'Ω' \(U\+03A9\) at position 3 .*on_unknown='sk"):
        lstm.generate("theΩ")
    skipped = lstm.generate("theΩ", on_unknown="skip", length=9)
    assert skipped == lstm.generate("the", length=9)
    replaced = lstm.generate("theΩ", on_unknown="replace", length=9)
    assert replaced == lstm.generate("the ", length=9)
    for judge in (lstm.loss, lstm.score):
        with pytest.raises(TextError, match="text: 'Ω'"):
            judge("theΩ")
    assert lstm.loss("theΩ", on_unknown="skip") == lstm.loss("the")


def test_positions_that_end_are_an_error_or_shorten_a_text() -> None:
    model = fresh("learned")
    assert len(model.generate("the king")) == 32 - 8 + 1
    with pytest.raises(ConfigError, match="after 8 a length of 25 would work, not 26"):
        model.generate("the king", length=26)


def test_a_model_in_training_mode_stays_in_it_and_is_judged_without_dropout() -> None:
    model = fresh("gru")
    expected = model.generate("the", length=20), model.loss(TEXT), model.score(TEXT[:50])
    model.module.train()
    assert model.generate("the", length=20) == expected[0]
    assert "".join(model.stream("the", length=20)) == expected[0]
    assert model.loss(TEXT) == expected[1]
    assert np.array_equal(model.score(TEXT[:50]), expected[2])
    assert model.module.training


def test_threads_and_generators_are_left_alone(lstm: carousel.TextModel) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        lstm.generate("the", length=5)
        lstm.loss("the king")
        lstm.score("the king")
        next(lstm.stream("the", length=5))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.get_rng_state(), state)


# Losses.


@pytest.mark.parametrize("name", ["lstm", "learned"])
def test_the_loss_is_the_figure_of_carousel_eval(name: str, tmp_path: Path) -> None:
    model = fresh(name)
    model.save(tmp_path / "model")
    (tmp_path / "song.txt").write_text(TEXT, encoding="utf-8")
    done = command(tmp_path, "eval", "model", "song.txt", "--json")
    assert done.code == 0, done.err
    (figure,) = re.findall(r'"nats_per_character": ([0-9.]+)', done.out)
    assert model.loss(TEXT) == float(figure)


def test_scores_are_log_probabilities_given_all_before(model: carousel.TextModel) -> None:
    text = "the king sang to the owl"  # shorter than every context that ends
    scores = model.score(text)
    assert scores.shape == (len(text) - 1,)
    ids = torch.tensor(model.vocabulary.encode(text).astype(np.int64))[None]
    logits = model.module(ids[:, :-1])[0].double()
    expected = logits.log_softmax(-1)[0].gather(1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(scores), expected.detach(), atol=1e-5, rtol=1e-5)


def test_the_loss_is_minus_the_mean_score(model: carousel.TextModel) -> None:
    assert model.loss(TEXT[:900]) == pytest.approx(-model.score(TEXT[:900]).mean(), abs=1e-6)


def test_a_text_of_one_character_and_a_loss_that_is_not_finite_are_errors(
    lstm: carousel.TextModel,
) -> None:
    for judge in (lstm.loss, lstm.score):
        with pytest.raises(TextError, match="the text has 1 characters; it takes 2"):
            judge("t")
    with torch.no_grad():
        next(lstm.module.parameters()).fill_(math.nan)
    with pytest.raises(CheckpointError, match="its loss on this text is nan"):
        lstm.loss("the")


# Saved.


def test_a_saved_model_is_loaded_as_it_was(model: carousel.TextModel, tmp_path: Path) -> None:
    assert model.save(tmp_path / "a" / "mine") == tmp_path / "a" / "mine"
    loaded = carousel.load(str(tmp_path / "a" / "mine"))
    assert loaded.vocabulary == model.vocabulary
    assert loaded.config["model"] == model.config["model"]
    for one, other in zip(loaded.module.parameters(), model.module.parameters(), strict=True):
        assert torch.equal(one, other)
    assert loaded.save(tmp_path / "b").is_dir()
    assert carousel.load(tmp_path / "b").config == loaded.config


@pytest.mark.parametrize("kind", ["file", "folder", "link", "model"])
def test_nothing_is_overwritten(lstm: carousel.TextModel, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine"
    match kind:
        case "file":
            path.write_text("dear diary")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere")
        case "model":
            fresh("gru").save(path)
    before = os.lstat(path)
    with pytest.raises(RunError, match="is there already; name another folder"):
        lstm.save(path)
    assert os.lstat(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_module_that_was_changed_is_refused_before_anything_is_written(
    lstm: carousel.TextModel, tmp_path: Path
) -> None:
    lstm.module.output = torch.nn.Linear(12, 3)
    with pytest.raises(CheckpointError, match="numbers, the model has"):
        lstm.save(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["nowhere", "", 7])
def test_what_is_no_model_is_not_loaded(path: Any, tmp_path: Path) -> None:
    with pytest.raises(carousel.CarouselError, match=r"no such run|must be the name of a file"):
        carousel.load(path)


def test_it_says_what_it_is(lstm: carousel.TextModel) -> None:
    count = sum(p.numel() for p in lstm.module.parameters())
    assert repr(lstm) == (
        f"TextModel(lstm, hidden_size=12, {len(CHARACTERS)} characters, {count:,} parameters)"
    )


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
