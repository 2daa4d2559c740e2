"""The web app with a fake model: texts, and one clear line for whatever is wrong."""

import json
import re

import pytest
import torch
from flask.testing import FlaskClient

from carousel.sampling.config import SamplingConfig
from carousel.sampling.generate import continue_text
from carousel.serving.app import MAX_BODY, create_app
from carousel.serving.request import MAX_LENGTH, MAX_PROMPT
from carousel.text.vocabulary import Vocabulary
from sampling.markov import Markov

VOCABULARY = Vocabulary.from_text("\n abcdeé“<>&\x1b")
MODEL = Markov(len(VOCABULARY))


@pytest.fixture
def client() -> FlaskClient:
    return create_app(MODEL, VOCABULARY, name="<b>small</b>", max_streams=2).test_client()


def read(response) -> tuple[str, list[object]]:
    """Return the text of a stream, and the events other than text."""
    assert response.status_code == 200, response.text
    assert response.mimetype == "text/event-stream"
    blocks = response.text.split("\n\n")
    response.close()  # as a server does
    assert blocks[0] == ":"
    assert blocks[-1] == ""
    assert all(block.startswith("data: ") for block in blocks[1:-1])
    data = [block.removeprefix("data: ") for block in blocks[1:-1]]
    assert data.pop() == "[DONE]"
    events = [json.loads(each) for each in data]
    text = "".join(event["text"] for event in events if "text" in event)
    return text, [event for event in events if "text" not in event]


def test_writes_the_text_that_was_asked_for(client: FlaskClient) -> None:
    settings = {
        "temperature": 1.2, "top_k": 7, "top_p": 0.9, "min_p": 0.01,
        "repetition_penalty": 1.3, "repetition_window": 5, "seed": 11,
    }  # fmt: skip
    response = client.post("/generate", json={"prompt": "ab", "length": 70, **settings})
    want = continue_text(MODEL, VOCABULARY, "ab", SamplingConfig(**settings), length=70)
    assert read(response) == ("".join(want), [{"finish_reason": "length"}])


def test_everything_has_a_default(client: FlaskClient) -> None:
    text, _ = read(client.post("/generate", json={}))
    assert len(text) == 500
    assert text == "".join(continue_text(MODEL, VOCABULARY, "", SamplingConfig(), length=500))


def test_a_stop_string_ends_the_text(client: FlaskClient) -> None:
    whole, _ = read(client.post("/generate", json={"length": 50}))
    stop = whole[20:22]
    text, rest = read(client.post("/generate", json={"length": 50, "stop": [stop, "\0"]}))
    assert text == whole[: whole.index(stop)]
    assert rest == [{"finish_reason": "stop"}]


def refused(response, status: int = 400) -> str:
    """Return the message of an error: one line of JSON, and nothing but that."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert list(response.json) == ["error"]
    message = response.json["error"]["message"]
    assert message
    assert "\n" not in message
    assert len(message) < 300
    assert "Traceback" not in response.text
    return message


WRONG_VALUES = [
    ({"prompt": 3}, "prompt must be text, got int"),
    ({"prompt": None}, "prompt must be text, got NoneType"),
    ({"prompt": ["a"]}, "prompt must be text, got list"),
    ({"prompt": "a" * (MAX_PROMPT + 1)}, "prompt must hold at most 4000 characters, got 4001"),
    ({"prompt": "abx"}, "prompt: 'x' (U+0078) at position 2"),
    ({"prompt": "a\0"}, "prompt: '\\x00' (U+0000) at position 1"),
    ({"prompt": "\ud800"}, "prompt: '\\ud800' (U+D800) at position 0"),
    ({"length": 0}, "length must be a whole number, at least 1, at most 4000, got 0"),
    ({"length": MAX_LENGTH + 1}, "length must be a whole number, at least 1, at most 4000, got 40"),
    ({"length": 10**100}, "length must be a whole number, at least 1, at most 4000, got 1000"),
    ({"length": True}, "length must be a whole number, at least 1, at most 4000, got True"),
    ({"length": 5.0}, "length must be a whole number, at least 1, at most 4000, got 5.0"),
    ({"length": "5"}, "length must be a whole number, at least 1, at most 4000, got '5'"),
    ({"temperature": -1}, "temperature must be a finite number, at least 0, got -1"),
    ({"temperature": float("nan")}, "temperature must be a finite number, at least 0, got nan"),
    ({"temperature": float("inf")}, "temperature must be a finite number, at least 0, got inf"),
    ({"temperature": False}, "temperature must be a finite number, at least 0, got False"),
    ({"temperature": 10**400}, "temperature must be a finite number, at least 0, got 1000"),
    ({"temperature": {}}, "temperature must be a finite number, at least 0, got {}"),
    ({"top_k": 0}, "top_k must be a whole number, at least 1, got 0"),
    ({"top_p": 0}, "top_p must be a finite number, above 0, at most 1, got 0"),
    ({"min_p": 2}, "min_p must be a finite number, at least 0, at most 1, got 2"),
    ({"repetition_penalty": 0}, "repetition_penalty must be a finite number, above 0"),
    ({"repetition_window": 10**9}, "repetition_window must be a whole number, at least 1"),
    ({"seed": -1}, "seed must be a whole number, at least 0"),
    ({"seed": 2**64}, "seed must be a whole number, at least 0"),
    ({"stop": "a"}, "stop must be a list of at most 4 strings"),
    ({"stop": None}, "stop must be a list of at most 4 strings"),
    ({"stop": [""]}, "stop must be a list of at most 4 strings"),
    ({"stop": [1]}, "stop must be a list of at most 4 strings"),
    ({"stop": ["a"] * 5}, "stop must be a list of at most 4 strings"),
    ({"stop": ["a" * 101]}, "stop must be a list of at most 4 strings"),
    ({"temprature": 1}, "no field is called 'temprature'; there are prompt, length, stop, temp"),
    ({"sampling": {}}, "no field is called 'sampling'"),
    ({"x" * 9_000: 1}, "no field is called 'xxx"),
    ([], "the request must be a JSON object, got list"),
    ("text", "the request must be a JSON object, got str"),
    (None, "the request must be a JSON object, got NoneType"),
]


@pytest.mark.parametrize(("body", "message"), WRONG_VALUES, ids=lambda v: str(v)[:30])
def test_a_wrong_value_is_named(client: FlaskClient, body: object, message: str) -> None:
    data = json.dumps(body)
    assert message in refused(client.post("/generate", data=data, content_type="application/json"))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{'prompt': 1}", b"\xff\xfe", b"[" * 60_000, b'{"seed": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "quotes", "bytes", "deep", "digits"],
)
def test_what_is_not_json_is_told(client: FlaskClient, data: bytes) -> None:
    response = client.post("/generate", data=data, content_type="application/json")
    assert refused(response) == "the body is not valid JSON"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_must_be_declared(client: FlaskClient, content_type: str | None) -> None:
    response = client.post("/generate", data='{"prompt": "a"}', content_type=content_type)
    assert "Content-Type: application/json" in refused(response)


def test_a_long_body_is_refused(client: FlaskClient) -> None:
    data = json.dumps({"prompt": "a" * MAX_BODY})
    response = client.post("/generate", data=data, content_type="application/json")
    assert "at most 65536 bytes" in refused(response, 413)


def test_the_longest_prompt_fits_in_any_spelling(client: FlaskClient) -> None:
    prompt = "“" * MAX_PROMPT  # \u201c each
    assert len(read(client.post("/generate", json={"prompt": prompt, "length": 3}))[0]) == 3


def test_other_addresses_and_methods(client: FlaskClient) -> None:
    refused(client.get("/nosuch"), 404)
    refused(client.get("/static/nosuch.js"), 404)
    response = client.get("/generate")
    refused(response, 405)
    assert "POST" in response.headers["Allow"]


def test_health_names_the_model(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert response.json == {"status": "ok", "model": "<b>small</b>", "vocab_size": 13}


def test_every_answer_is_protected(client: FlaskClient) -> None:
    for response in (
        client.get("/"),
        client.get("/static/page.js"),
        client.get("/nosuch"),
        client.post("/generate", json={"length": 1}),
        client.post("/generate", json={"length": 0}),
    ):
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        response.close()


def test_the_page_holds_the_limits_and_escapes_the_name(client: FlaskClient) -> None:
    page = client.get("/").text
    assert "&lt;b&gt;small&lt;/b&gt;" in page
    assert "<b>" not in page
    assert f'maxlength="{MAX_PROMPT}"' in page
    assert f'max="{MAX_LENGTH}"' in page
    assert f'max="{len(VOCABULARY)}"' in page
    assert "style=" not in page
    assert "http" not in page  # nothing from elsewhere


@pytest.mark.parametrize(
    ("longest", "begins"), [(50, ""), (610, ""), (616, "Once"), (None, "Once")]
)
def test_what_stands_in_the_form_at_first_can_be_told(longest: int | None, begins: str) -> None:
    """Also where the model's positions end before the usual length."""
    vocabulary = Vocabulary.from_text("Once upon a time")
    model = Markov(len(vocabulary))
    model.longest_stream = longest
    client = create_app(model, vocabulary).test_client()
    page = client.get("/").text
    value = re.search(r'id="length".*max="\d+" value="(\d*)"', page)[1]
    limits = {name: int(n) for name, n in re.findall(r'(max|maxlength)="(\d{2,})"', page)}
    assert value == ("" if longest else "600")  # empty: as many as there is room for
    assert limits["maxlength"] == min(MAX_PROMPT, longest or MAX_PROMPT)
    prompt = re.search(r">([^<]*)</textarea>", page)[1]
    assert prompt.startswith(begins)
    assert bool(prompt) == bool(begins)
    asked = {"prompt": prompt} | ({"length": int(value)} if value else {})
    told, _ = read(client.post("/generate", json=asked))
    assert len(told) == (min(500, longest + 1 - max(1, len(prompt))) if longest else 600)


def test_a_story_beyond_the_last_position_is_refused() -> None:
    model = Markov(len(VOCABULARY))
    model.longest_stream = 30
    client = create_app(model, VOCABULARY).test_client()
    message = refused(client.post("/generate", json={"prompt": "abc", "length": 29}))
    assert message.endswith("for 30 characters: after 3 a length of 28 would work, not 29")
    assert len(read(client.post("/generate", json={"prompt": "abc", "length": 28}))[0]) == 28


def test_no_length_or_null_is_the_usual_one(client: FlaskClient) -> None:
    for asked in ({}, {"length": None}):
        assert len(read(client.post("/generate", json={"prompt": "a", **asked}))[0]) == 500


def test_too_many_texts_at_once_are_asked_to_wait(client: FlaskClient) -> None:
    first = client.post("/generate", json={"length": 9}, buffered=False)
    second = client.post("/generate", json={"length": 9}, buffered=False)
    response = client.post("/generate", json={"length": 9})
    assert "2 texts are being written already" in refused(response, 429)
    assert response.headers["Retry-After"] == "1"
    refused(client.post("/generate", json={"length": 0}), 400)
    first.close()  # one unread, the other read to its end
    read(client.post("/generate", json={"length": 9}))
    assert len(read(second)[0]) == 9
    for _ in range(5):
        read(client.post("/generate", json={"length": 9}))


def test_a_diverged_model_is_told_in_the_stream(client: FlaskClient) -> None:
    broken = Markov(len(VOCABULARY))
    broken.table[:] = torch.nan
    client = create_app(broken, VOCABULARY).test_client()
    text, events = read(client.post("/generate", json={}))
    assert text == ""
    assert "damaged or diverged" in events[0]["error"]["message"]


def test_what_nobody_foresaw_is_500_and_says_no_more() -> None:
    app = create_app(MODEL.__class__(len(VOCABULARY)).train(), VOCABULARY)  # a programmer's mistake
    app.logger.disabled = True
    response = app.test_client().post("/generate", json={})
    assert "training mode" not in refused(response, 500)


def test_the_form_begins_with_what_the_model_can_spell() -> None:
    for alphabet, shown in (("Once upon a time", "Once upon a time"), ("abc", "")):
        vocabulary = Vocabulary.from_text(alphabet)
        page = create_app(Markov(len(vocabulary)), vocabulary).test_client().get("/").text
        assert f">{shown}</textarea>" in page
