"""POST /v1/completions: what was asked for, whole or in parts, and an end in every case."""

import threading
import time

import pytest
from flask.testing import FlaskClient

from carousel.errors import CarouselError
from carousel.generation.config import SamplingConfig
from carousel.server.app import create_app
from carousel.server.request import COMPLETION, MAX_PROMPT, MAX_SEED
from carousel.server.types import CharacterLogprob, Chunk, Job, Unavailable
from server.answers import events, refused, told, well_formed
from server.fake_engine import FakeEngine, drawn, log_p, model_info

PATH = "/v1/completions"
API = SamplingConfig(temperature=1.0)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app([engine, FakeEngine(model_info("other", "ab", max_length=30))]).test_client()


def test_every_setting_reaches_the_writer(client: FlaskClient, engine: FakeEngine) -> None:
    settings = {
        "temperature": 1.2, "top_k": 7, "top_p": 0.9, "min_p": 0.01,
        "repetition_penalty": 1.3, "repetition_window": 5, "candidates": 3, "seed": 11,
    }  # fmt: skip
    others = {"prompt": "ab", "max_tokens": 70, "stop": ["\0", "é<"], "user": "somebody"}
    answer = client.post(PATH, json=settings | others).json
    (job,) = engine.jobs
    assert job == Job(
        prompt="ab", length=70, stop=("\0", "é<"), sampling=SamplingConfig(**settings)
    )
    (choice,) = answer["choices"]
    text = drawn(job).split("é<")[0]
    finish_reason = "length" if len(text) == 70 else "stop"
    assert choice == {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}
    assert answer["seed"] == 11
    assert answer["model"] == "small"
    assert answer["object"] == "text_completion"
    assert abs(answer["created"] - time.time()) < 100
    counts = {"prompt_tokens": 2, "completion_tokens": len(text), "total_tokens": 2 + len(text)}
    assert answer["usage"] == counts


@pytest.mark.parametrize("body", [{}, None])
def test_everything_has_the_default_of_openai(
    client: FlaskClient, engine: FakeEngine, body: dict | None
) -> None:
    names = [*COMPLETION]
    assert {"prompt", "n", "suffix", "store"} < {*names}
    seeds = set()
    for _ in range(3):
        params = dict.fromkeys(names) if body is None else body
        seeds.add(client.post(PATH, json=params).json["seed"])
    assert len(seeds) == 3
    assert all(0 <= seed <= MAX_SEED for seed in seeds)
    defaults = [
        Job(prompt="", length=16, sampling=SamplingConfig(temperature=1, seed=job.sampling.seed))
        for job in engine.jobs
    ]
    assert engine.jobs == defaults
    assert {job.sampling.seed for job in engine.jobs} == seeds


def test_neutral_settings_of_others_are_taken(client: FlaskClient) -> None:
    neutral = {
        "n": 2, "best_of": 2, "suffix": None, "logit_bias": {}, "frequency_penalty": 0,
        "presence_penalty": -0.0, "no such setting": None,
    }  # fmt: skip
    assert client.post(PATH, json=neutral).status_code == 200


def test_n_texts_of_each_prompt_are_samples_of_one_seed(
    client: FlaskClient, engine: FakeEngine
) -> None:
    body = {"prompt": ["ab", "", "e"], "n": 3, "seed": 5, "max_tokens": 20}
    answer = client.post(PATH, json=body).json
    assert [choice["index"] for choice in answer["choices"]] == list(range(9))
    assert [(job.prompt, job.sample) for job in engine.jobs] == [
        (prompt, sample) for prompt in ("ab", "", "e") for sample in range(3)
    ]
    assert [choice["text"] for choice in answer["choices"]] == list(map(drawn, engine.jobs))
    assert answer["usage"]["prompt_tokens"] == 3  # each prompt once
    assert answer["usage"]["completion_tokens"] == 180
    parts = events(client.post(PATH, json=body | {"stream": True}))
    assert [told(parts, index) for index in range(9)] == list(map(drawn, engine.jobs[:9]))


@pytest.mark.parametrize(("prompts", "n"), [(1, 16), (2, 8), (5, 3), (8, 2), (9, 1), (16, 1)])
def test_a_request_is_for_16_texts_however_they_are_split(
    client: FlaskClient, engine: FakeEngine, prompts: int, n: int
) -> None:
    params = ["ab" * place for place in range(1, prompts + 1)]
    body = {"prompt": params, "n": n, "max_tokens": 5, "echo": True, "seed": 1, "candidates": 16}
    choices = client.post(PATH, json=body).json["choices"]
    assert [choice["index"] for choice in choices] == list(range(prompts * n))
    assert [choice["text"] for choice in choices] == [
        prompt + drawn(engine.jobs[place * n + sample])
        for place, prompt in enumerate(params)
        for sample in range(n)
    ]
    error = refused(client.post(PATH, json=body | {"n": 16 // prompts + 1}))
    assert error["param"] == "n"
    assert len(engine.jobs) == prompts * n


@pytest.mark.parametrize("pace", [1, 7, 100])
@pytest.mark.parametrize("logprobs", [None, 0, 3])
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("prompt", ["", "a", "abéc"])
def test_the_parts_of_a_stream_make_the_whole(
    client: FlaskClient,
    engine: FakeEngine,
    pace: int,
    logprobs: int | None,
    echo: bool,
    prompt: str,
) -> None:
    engine.pace = pace
    body = {"prompt": prompt, "echo": echo, "logprobs": logprobs, "seed": 3, "max_tokens": 30}
    whole = client.post(PATH, json=body).json
    streamed = client.post(
        PATH, json=body | {"stream": True, "stream_options": {"include_usage": True}}
    )
    *parts, last = events(streamed)
    for part in (*parts, last):
        assert (part["object"], part["model"], part["seed"]) == ("text_completion", "small", 3)
        assert part["id"] == last["id"] != whole["id"]
    assert last["usage"] == whole["usage"]
    assert last["choices"] == []
    assert all(part["usage"] is None for part in parts)
    (want,) = whole["choices"]
    choices = [choice for part in parts for choice in part["choices"]]
    assert "".join(choice["text"] for choice in choices) == want["text"]
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons == [None] * (len(choices) - 1) + [want["finish_reason"]]
    if logprobs is None:
        assert {str(choice["logprobs"]) for choice in (*choices, want)} == {"None"}
        return
    for name, values in want["logprobs"].items():
        assert [value for choice in choices for value in choice["logprobs"][name]] == values


@pytest.mark.parametrize("prompt", ["", "a", "abc"])
def test_logprobs_belong_to_their_characters(
    client: FlaskClient, engine: FakeEngine, prompt: str
) -> None:
    body = {"prompt": prompt, "echo": True, "logprobs": 2, "max_tokens": 25}
    (choice,) = client.post(PATH, json=body).json["choices"]
    text, found = choice["text"], choice["logprobs"]
    assert text == prompt + drawn(engine.jobs[0])
    assert found["tokens"] == list(text)
    assert found["text_offset"] == list(range(len(text)))
    seen = (prompt or "\n") + drawn(engine.jobs[0])
    start = len(seen) - len(text)
    want = [log_p(seen, place) if place else None for place in range(start, len(seen))]
    assert found["token_logprobs"] == want
    for character, p, top in zip(text, found["token_logprobs"], found["top_logprobs"], strict=True):
        assert (top is None) == (p is None)
        if top is not None:
            assert top == {"\n": -0.1, " ": -1.1} | {character: p}


def test_a_prompt_can_be_scored_alone(client: FlaskClient, engine: FakeEngine) -> None:
    body = {"prompt": "abc", "max_tokens": 0, "echo": True, "logprobs": 0}
    answer = client.post(PATH, json=body).json
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("abc", "length")
    want = [None, log_p("abc", 1), log_p("abc", 2)]
    assert choice["logprobs"]["token_logprobs"] == want
    assert answer["usage"]["completion_tokens"] == 0
    (part,) = events(client.post(PATH, json=body | {"stream": True}))
    assert part["choices"] == [choice]


def test_what_is_impossible_to_the_model_is_a_number_that_json_has(
    client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    logprob = CharacterLogprob(-float("inf"), [("a", -0.1), ("b", -float("inf"))])
    monkeypatch.setattr(
        "server.fake_engine.FakeText.next", lambda *_: Chunk("e", [logprob], "length")
    )
    (choice,) = client.post(PATH, json={"logprobs": 2, "max_tokens": 1}).json["choices"]
    assert choice["logprobs"]["token_logprobs"] == [-9999]
    assert choice["logprobs"]["top_logprobs"] == [{"a": -0.1, "b": -9999, "e": -9999}]


def test_a_stream_begins_before_the_text_does(client: FlaskClient, engine: FakeEngine) -> None:
    engine.delay = 60
    with client.post(PATH, json={"stream": True}, buffered=False) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert next(response.response) == b":\n\n"


def test_a_text_ends_where_the_model_has_no_more_positions(client: FlaskClient) -> None:
    for prompt, length in (("", 30), ("a", 30), ("abba", 27), ("ab" * 15, 1)):
        body = {"model": "other", "prompt": prompt, "max_tokens": 100}
        (choice,) = client.post(PATH, json=body).json["choices"]
        assert (len(choice["text"]), choice["finish_reason"]) == (length, "length")
    error = refused(client.post(PATH, json={"model": "other", "prompt": "a" * 31}))
    assert error["message"] == "prompt: this model reads at most 30 characters, got 31"


def test_the_longest_prompt_fits_in_any_spelling(client: FlaskClient) -> None:
    prompt = "“" * MAX_PROMPT  # \u201c each
    answer = client.post(PATH, json={"prompt": prompt, "max_tokens": 3}).json
    assert answer["usage"]["total_tokens"] == MAX_PROMPT + 3


# The end


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Unavailable("its worker died: the text ends here"), 503, "unavailable"),
        (CarouselError("the model's weights are damaged"), 500, "failed"),
    ],
)
def test_a_text_that_cannot_be_finished_is_told(
    client: FlaskClient, engine: FakeEngine, failure: CarouselError, status: int, code: str
) -> None:
    engine.delay = 0.01
    response = client.post(PATH, json={"stream": True, "max_tokens": 100}, buffered=False)
    parts = response.response
    assert next(parts) == b":\n\n"
    assert b"choices" in next(parts)
    engine.failure = failure
    assert b'"error"' in next(parts)
    assert list(parts) == [b"data: [DONE]\n\n"]
    assert all(text.is_cancelled for text in engine.texts)
    (event,) = events(client.post(PATH, json={"stream": True}))
    for error in (well_formed(event["error"], status), refused(client.post(PATH, json={}), status)):
        assert (error["message"], error["code"]) == (str(failure), code)


@pytest.mark.serial
def test_a_request_that_takes_too_long_ends(engine: FakeEngine) -> None:
    client = create_app([engine], seconds=0.2).test_client()
    engine.delay, engine.pace = 0.03, 1
    body = {"n": 2, "max_tokens": 4000}
    began = time.monotonic()
    error = refused(client.post(PATH, json=body), 504)
    assert time.monotonic() - began < 1
    assert error["message"].startswith("a request may last 0.2 seconds")
    *parts, event = events(client.post(PATH, json=body | {"stream": True}))
    assert told(parts, 0)
    assert told(parts, 1)
    assert well_formed(event["error"], 504)["code"] == "timeout"
    assert all(text.is_cancelled for text in engine.texts)


class Connection:
    """As waitress tells the app whether the client is there; it hangs up when it is told to."""

    def __init__(self) -> None:
        self.is_closed = False
        self.params: list[float] = []

    def __call__(self) -> bool:
        self.params.append(time.monotonic())
        return self.is_closed


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.mark.serial
@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_work_stops_when_the_client_goes(
    client: FlaskClient, engine: FakeEngine, connection: Connection, is_streamed: bool
) -> None:
    engine.delay = 1000  # not one character comes
    environ = {"waitress.client_disconnected": connection}
    body = {"stream": is_streamed, "n": 8}

    def ask() -> None:
        with client.post(PATH, json=body, environ_base=environ) as response:
            _ = response.data

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    connection.is_closed = True
    gone = time.monotonic()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert time.monotonic() - gone < 0.1
    assert len(connection.params) >= 4
    assert [text.is_cancelled for text in engine.texts] == [True] * 8
    with client.get("/metrics") as response:
        assert 'carousel_rejected_total{reason="gone"} 1.0' in response.text
        assert f'{{route="{PATH}",status="499"}} 1.0' in response.text


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_a_stream_that_nobody_reads_on_is_given_up(
    client: FlaskClient, engine: FakeEngine, parts: int
) -> None:
    response = client.post(PATH, json={"stream": True, "max_tokens": 100}, buffered=False)
    for _ in range(parts):
        next(response.response)
    response.close()
    assert [text.is_cancelled for text in engine.texts] == [True]


@pytest.mark.serial
def test_texts_come_side_by_side(client: FlaskClient, engine: FakeEngine) -> None:
    engine.delay = 0.02
    body = {"prompt": ["a", "b"], "n": 8, "max_tokens": 35, "stream": True}
    began = time.monotonic()
    parts = events(client.post(PATH, json=body))
    assert time.monotonic() - began < 1  # one after the other they take 1.6 s
    order = [choice["index"] for part in parts for choice in part["choices"]]
    assert set(order[:32]) == set(range(16))
    assert sorted(order) == sorted(5 * list(range(16)))
