"""The official client of OpenAI against the app on a port."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from carousel.errors import CarouselError
from carousel.server.app import create_app
from carousel.server.types import Busy, Unavailable
from server.fake_engine import FakeEngine, drawn, log_p, model_info
from server.running import serving

WRITER = FakeEngine()
OTHER = FakeEngine(model_info("other", "ab"))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = create_app([WRITER, OTHER], token="secret", characters_per_minute=1_000_000)
    with serving(app) as port:
        yield port


def connect(port: int, token: str = "secret") -> OpenAI:
    url = f"http://127.0.0.1:{port}/v1"
    return OpenAI(base_url=url, api_key=token, max_retries=0, timeout=20)


@pytest.fixture
def client(port: int) -> Iterator[OpenAI]:
    with connect(port) as client:
        yield client


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    yield
    WRITER.api_error = WRITER.failure = None
    WRITER.delay = 0
    WRITER.jobs.clear()


def test_a_completion(client: OpenAI) -> None:
    answer = client.completions.create(
        model="small", prompt="ab", max_tokens=20, temperature=0.7, top_p=0.9, seed=4, n=2,
        user="somebody", extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2},
    )  # fmt: skip
    assert [choice.text for choice in answer.choices] == list(map(drawn, WRITER.jobs))
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert [choice.index for choice in answer.choices] == [0, 1]
    sampling = WRITER.jobs[0].sampling
    assert (sampling.temperature, sampling.top_k, sampling.seed) == (0.7, 5, 4)
    assert answer.usage.total_tokens == 42
    assert answer.seed == 4
    assert (answer.model, answer.object) == ("small", "text_completion")


def test_a_stream(client: OpenAI) -> None:
    WRITER.delay = 0.01
    stream = client.completions.create(
        model="small", prompt="ab", max_tokens=60, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    *parts, last = list(stream)
    assert len(parts) > 3
    assert "".join(part.choices[0].text for part in parts) == drawn(WRITER.jobs[0])
    assert [part.choices[0].finish_reason for part in parts[-2:]] == [None, "length"]
    assert last.usage.completion_tokens == 60


def test_logprobs_echo_and_stop(client: OpenAI) -> None:
    answer = client.completions.create(
        model="small",
        prompt=["ab", "éa"],
        max_tokens=30,
        logprobs=2,
        echo=True,
        stop=["a", "<"],
        seed=1,  # of which both texts come to a stop
    )
    for choice, job in zip(answer.choices, WRITER.jobs, strict=True):
        text = job.prompt + min((drawn(job).split(s)[0] for s in job.stop), key=len)
        assert choice.text == text
        assert choice.finish_reason == "stop"
        assert choice.logprobs.tokens == list(text)
        assert choice.logprobs.text_offset == list(range(len(text)))
        want = [None, *(log_p(text, place) for place in range(1, len(text)))]
        assert choice.logprobs.token_logprobs == want
        assert all(len(top) <= 3 for top in choice.logprobs.top_logprobs[1:])


def test_settings_at_their_no_op_values(client: OpenAI) -> None:
    answer = client.completions.create(
        model="small", prompt="ab", max_tokens=9, seed=2, n=2, best_of=2, echo=False, logit_bias={},
        frequency_penalty=0, presence_penalty=0.0, suffix=None, stop=None, stream_options=None,
        logprobs=None, user="",
        extra_body={"store": False, "metadata": {}, "service_tier": "auto", "top_k": -1,
                    "safety_identifier": "a", "prompt_cache_key": "b", "tools": None},
    )  # fmt: skip
    plain = client.completions.create(model="small", prompt="ab", max_tokens=9, seed=2, n=2)
    assert answer.choices == plain.choices
    stream = client.completions.create(
        model="small", prompt="ab", max_tokens=9, seed=2, stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
    )  # fmt: skip
    *parts, last = list(stream)
    assert "".join(part.choices[0].text for part in parts) == plain.choices[0].text
    assert last.usage.completion_tokens == 9


def test_what_cannot_be_done_is_an_error_of_the_client(client: OpenAI) -> None:
    for settings in (
        {"best_of": 2}, {"suffix": "the end"}, {"logit_bias": {"50256": -100}},
        {"presence_penalty": 0.5}, {"extra_body": {"store": True}},
        {"extra_body": {"max_completion_tokens": 5}}, {"prompt": [1, 2]}, {"prompt": [[1], [2]]},
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as wrong:
            client.completions.create(**{"model": "small", "prompt": "ab", **settings})
        (name,) = settings.get("extra_body", settings)
        assert wrong.value.param == name
    assert WRITER.jobs == []


def test_a_request_may_have_16_prompts(client: OpenAI) -> None:
    prompts = ["ab"[: k % 3] + "é" * k for k in range(16)]
    answer = client.completions.create(model="small", prompt=prompts, max_tokens=5, echo=True)
    assert [choice.index for choice in answer.choices] == list(range(16))
    assert [choice.text for choice in answer.choices] == [
        prompt + drawn(job) for prompt, job in zip(prompts, WRITER.jobs, strict=True)
    ]
    with pytest.raises(openai.BadRequestError, match=r"a list of 1 to 16 such.* got a list of 17"):
        client.completions.create(model="small", prompt=[*prompts, "a"])


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small", "other"]
    assert client.models.retrieve("other").owned_by == "carousel"
    answer = client.completions.create(model="other", prompt="a", seed=1)
    assert answer.choices[0].text == drawn(OTHER.jobs[-1], "ab")


def test_errors_are_those_of_the_client(client: OpenAI, port: int) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        client.completions.create(model="small", prompt="a", temperature=3)
    assert (wrong.value.param, wrong.value.code) == ("temperature", "invalid")
    assert wrong.value.type == "invalid_request_error"
    assert "temperature must be a number from 0 to 2, got 3" in wrong.value.message
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="big", prompt="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "a"}])
    with connect(port, "wrong") as stranger, pytest.raises(openai.AuthenticationError) as unknown:
        stranger.models.list()
    assert unknown.value.code == "invalid_api_key"


def test_a_server_that_is_busy_or_not_there(client: OpenAI) -> None:
    WRITER.api_error = Busy("64 texts are being written already; try again in a moment")
    with pytest.raises(openai.RateLimitError) as busy:
        client.completions.create(model="small", prompt="a")
    assert busy.value.response.headers["Retry-After"] == "1"
    WRITER.api_error = Unavailable("its worker died; a new one is on its way")
    with pytest.raises(openai.InternalServerError, match="its worker died"):
        client.completions.create(model="small", prompt="a")
    WRITER.api_error = None
    WRITER.failure = CarouselError("the model's weights are damaged")
    with pytest.raises(openai.APIError, match="weights are damaged") as failed:
        list(client.completions.create(model="small", prompt="a", stream=True))
    assert failed.value.type == "server_error"


def test_a_client_that_retries_gets_its_text() -> None:
    engine = FakeEngine(max_texts=1)
    engine.delay = 0.3
    with (
        serving(create_app([engine])) as port,
        connect(port) as first,
        connect(port).with_options(max_retries=2) as second,
        first.completions.create(model="small", prompt="a", max_tokens=7, stream=True) as stream,
    ):
        next(iter(stream))
        answer = second.completions.create(model="small", prompt="b", max_tokens=7)
        assert len(answer.choices[0].text) == 7
