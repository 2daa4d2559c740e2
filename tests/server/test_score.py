"""POST /v1/score: how likely a text is."""

import math

import pytest
from flask.testing import FlaskClient

from carousel.server.app import create_app
from carousel.server.types import Chance, Job, Piece, Unavailable
from server.answers import refused
from server.fake_writer import FakeWriter, card, log_p, mean_surprise

PATH = "/v1/score"


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@pytest.fixture
def client(writer: FakeWriter) -> FlaskClient:
    return create_app([writer, FakeWriter(card("other", "ab", longest_stream=30))]).test_client()


@pytest.mark.parametrize("alternatives", [0, 2, 5])
def test_each_character_but_the_first_has_its_chance(
    client: FlaskClient, writer: FakeWriter, alternatives: int
) -> None:
    text = "abé<\x1b"
    answer = client.post(PATH, json={"text": text, "alternatives": alternatives}).json
    assert writer.jobs == [Job(prompt=text, length=0, alternatives=alternatives, is_scored=True)]
    first, *others = answer["characters"]
    assert first == {"character": "a", "log_p": None, "bits": None, "alternatives": None}
    likeliest = [
        {"character": character, "log_p": -0.1 - i}
        for i, character in enumerate(writer.card.characters[:alternatives])
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
        piece = Piece("", [Chance(p, [("a", p)])], "length")
        monkeypatch.setattr("server.fake_writer.FakeText.next", lambda *_, piece=piece: piece)
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
    client: FlaskClient, writer: FakeWriter
) -> None:
    writer.failure = Unavailable("its worker died")
    assert refused(client.post(PATH, json={"text": "ab"}), 503)["message"] == "its worker died"
    assert [text.is_cancelled for text in writer.texts] == [True]
