"""POST /v1/score: how likely a text is."""

import math

import pytest
from flask.testing import FlaskClient

from carousel.server.app import create_app
from carousel.server.types import CharacterLogprob, Chunk, Job, Unavailable
from server.answers import refused
from server.fake_engine import FakeEngine, log_p, mean_surprise, model_info

PATH = "/v1/score"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app([engine, FakeEngine(model_info("other", "ab", max_length=30))]).test_client()


@pytest.mark.parametrize("alternatives", [0, 2, 5])
def test_each_character_but_the_first_has_its_chance(
    client: FlaskClient, engine: FakeEngine, alternatives: int
) -> None:
    text = "abé<\x1b"
    answer = client.post(PATH, json={"text": text, "alternatives": alternatives}).json
    assert engine.jobs == [Job(prompt=text, length=0, logprobs=alternatives, prompt_logprobs=True)]
    first, *others = answer["characters"]
    assert first == {"character": "a", "log_p": None, "bits": None, "alternatives": None}
    likeliest = [
        {"character": character, "log_p": -0.1 - i}
        for i, character in enumerate(engine.model_info.characters[:alternatives])
    ]
    for place, other in enumerate(others, start=1):
        p = log_p(text, place)
        assert other == {
            "character": text[place],
            "log_p": p,
            "bits": pytest.approx(-p / math.log(2)),
            "alternatives": likeliest,
        }
    assert answer["bits_per_character"] == pytest.approx(mean_surprise(text))
    nats = answer["bits_per_character"] * math.log(2)
    assert answer["nats_per_character"] == pytest.approx(nats)
    assert (answer["object"], answer["model"]) == ("score", "small")


def test_certainty_is_no_surprise_and_impossibility_a_number(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for p, nats in ((0.0, 0.0), (-math.inf, 9999.0)):
        chunk = Chunk("", [CharacterLogprob(p, [("a", p)])], "length")
        monkeypatch.setattr("server.fake_engine.FakeText.next", lambda *_, chunk=chunk: chunk)
        answer = client.post(PATH, json={"text": "ab"})
        assert answer.json["nats_per_character"] == nats
        assert answer.json["characters"][1]["alternatives"] == [{"character": "a", "log_p": -nats}]
        assert '_per_character": -' not in answer.text


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "text", "text must be a text of 2 to 4000 characters, got null"),
        ({"text": None}, "text", "text must be a text of 2 to 4000 characters, got null"),
        ({"text": "a"}, "text", "text must be a text of 2 to 4000 characters, got 'a'"),
        ({"text": "a" * 4001}, "text", "got a text of 4001 characters"),
        ({"text": ["ab"]}, "text", "got a list of 1"),
        ({"text": "abx"}, "text", "text: 'x' (U+0078) at position 2 is not among the model's 17 c"),
        ({"text": "ab", "alternatives": 6}, "alternatives", "from 0 to 5, got 6"),
        ({"text": "ab", "alternatives": True}, "alternatives", "from 0 to 5, got true"),
        ({"text": "ab", "prompt": "a"}, "prompt", "no field 'prompt'; there are model, text, alt"),
        ({"text": "ab" * 16, "model": "other"}, "text", "reads at most 30 characters, got 32"),
    ],
)
def test_a_wrong_value_is_named(
    client: FlaskClient, body: dict[str, object], param: str, message: str
) -> None:
    error = refused(client.post(PATH, json=body))
    assert message in error["message"]
    assert error["param"] == param


def test_a_text_that_cannot_be_read_to_its_end_is_told(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.failure = Unavailable("its worker died")
    assert refused(client.post(PATH, json={"text": "ab"}), 503)["message"] == "its worker died"
    assert [text.is_cancelled for text in engine.texts] == [True]
