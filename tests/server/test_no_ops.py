"""Parameters of other servers: each no-op value changes nothing, every other value is refused."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator  # schemathesis brings it
from openai.types import completion_create_params as parameters
from openai.types.chat.chat_completion_stream_options_param import (
    ChatCompletionStreamOptionsParam,
)

from carousel.server.api_error import ApiError
from carousel.server.app import create_app
from carousel.server.fields import NoOp, Text, read_fields
from carousel.server.no_ops import MAX_NAME, NO_OPS, Anything, Constants, ZeroBiases
from carousel.server.request import COMPLETION
from carousel.server.types import Job
from server.answers import events, refused
from server.fake_engine import FakeEngine

PATH = "/v1/completions"
BODY = {"prompt": ["ab", "e"], "n": 2, "max_tokens": 9, "seed": 3}
ODD: tuple[Any, ...] = (
    *(True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 10**400, "", "a", "auto", "none", "a" * 501),
    *([], [1], ["a"], ["text"], [[]], {}, {"a": 0}, {"a": 1}, {"a": False}, {"type": "text"}),
    *({"type": "json_object"}, {"type": "text", "b": 1}),
)


def no_ops(no_op: NoOp) -> tuple[Any, ...]:
    """Return values that ask for nothing, null aside."""
    match no_op.values:
        case Constants(values=values):
            return values
        case Text(high=high):
            return ("", "a\n\ud800", "a" * high)
        case ZeroBiases():
            return ({}, {"50256": 0, "a": -0.0})
        case Anything():
            return (0, 64, ["\n"], "5", True)
    raise AssertionError(f"no such kind of no-op: {no_op}")


def body_with(name: str, value: object) -> dict[str, Any]:
    """Return a request that has the parameter, or the field of an object in it."""
    outer, _, inner = name.rpartition(".")
    return {outer: {inner: value}} if outer else {name: value}


def is_same(one: object, other: object) -> bool:
    """Tell whether two values are one in JSON, where false is not 0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def is_accepted(body: dict[str, Any]) -> bool:
    """Tell whether the fields of a request are accepted."""
    try:
        read_fields(body, COMPLETION)
    except ApiError:
        return False
    return True


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app([engine]).test_client()


def jobs(client: FlaskClient, engine: FakeEngine, body: dict[str, Any]) -> list[Job]:
    """Return the jobs that a request becomes."""
    engine.jobs.clear()
    response = client.post(PATH, json=BODY | body)
    assert response.status_code == 200, (body, response.text)
    return list(engine.jobs)


@pytest.mark.parametrize("name", NO_OPS)
def test_a_no_op_value_changes_nothing(client: FlaskClient, engine: FakeEngine, name: str) -> None:
    expected = jobs(client, engine, {})
    assert len(expected) == 4
    for value in (None, *no_ops(NO_OPS[name])):
        found = jobs(client, engine, body_with(name, value))
        if name == "logprobs" and value is False:  # read as the number 0
            found = [replace(job, logprobs=None) for job in found]
        assert found == expected, value


def test_false_for_logprobs_is_the_number_0(client: FlaskClient) -> None:
    answers = [client.post(PATH, json=BODY | {"logprobs": value}).json for value in (False, 0)]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert len(answers[0]["choices"][0]["logprobs"]["token_logprobs"]) == 9
    assert refused(client.post(PATH, json={"logprobs": True}))["message"] == (
        "logprobs must be a whole number from 0 to 5, or false, got true"
    )


def test_top_k_without_a_limit_has_three_spellings(client: FlaskClient, engine: FakeEngine) -> None:
    for value in (None, 0, -1):
        assert jobs(client, engine, {"top_k": value})[0].sampling.top_k is None


UNSUPPORTED = [name for name in NO_OPS if isinstance(COMPLETION.get(name), NoOp)]


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_any_other_value_is_refused_by_name_value_and_what_works(
    client: FlaskClient, engine: FakeEngine, name: str
) -> None:
    no_op = NO_OPS[name]
    if isinstance(no_op.values, Anything):
        return  # there is no other value
    for value in ODD:
        if any(is_same(value, accepted) for accepted in no_ops(no_op)):
            continue
        if isinstance(no_op.values, Text) and isinstance(value, str) and len(value) <= MAX_NAME:
            continue
        if isinstance(no_op.values, ZeroBiases) and str(value) == "{'a': 0}":
            continue
        error = refused(client.post(PATH, json=BODY | {name: value}))
        assert error["param"] == name
        assert error["message"].startswith(f"{name} must be ")
        assert ", got " in error["message"]
        if no_op.use:
            assert f"use {no_op.use} instead" in error["message"]
    assert engine.jobs == []


def test_the_description_has_the_same_values(client: FlaskClient) -> None:
    """For each parameter and each value: the schema takes what the parser takes."""
    content = client.get("/openapi.json").json["paths"][PATH]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]["properties"]
    for name, no_op in NO_OPS.items():
        outer, _, inner = name.rpartition(".")
        found = schema[outer]["anyOf"][0]["properties"][inner] if outer else schema[name]
        validator = Draft202012Validator(found)
        for value in (None, *no_ops(no_op), *ODD):
            if isinstance(value, str) and "\ud800" in value:
                continue
            assert validator.is_valid(value) == is_accepted(body_with(name, value)), (name, value)


def test_what_a_parameter_is_replaced_by_exists() -> None:
    words = {word for no_op in NO_OPS.values() if no_op.use for word in no_op.use.split(" and ")}
    assert words
    assert all(word in COMPLETION and not isinstance(COMPLETION[word], NoOp) for word in words)


def test_every_parameter_of_the_official_client_is_known() -> None:
    create = parameters.CompletionCreateParamsNonStreaming.__annotations__.keys()
    assert {*create} | {*parameters.CompletionCreateParamsBase.__annotations__} <= {*COMPLETION}
    streamed = COMPLETION["stream_options"].schema()["properties"]
    assert {*ChatCompletionStreamOptionsParam.__annotations__} <= {*streamed}


def test_null_asks_for_nothing_in_an_unknown_field_and_anything_else_is_refused(
    client: FlaskClient, engine: FakeEngine
) -> None:
    assert jobs(client, engine, {"no_such": None, "": None}) == jobs(client, engine, {})
    jobs(client, engine, {"stream_options": {"no_such": None}})
    for value in (False, 0, "", [], {}):
        error = refused(client.post(PATH, json={"no_such": value}))
        assert (error["code"], error["param"]) == ("unknown_field", "no_such")
        # what it names is what works: no parameter that has only no-op values
        assert error["message"].endswith("echo, stream, stream_options, best_of")
    for path, body in ((PATH, {"stream_options": {"no": 0}}), ("/v1/score", {"user": "a"})):
        assert refused(client.post(path, json=body))["code"] == "unknown_field"


def test_a_stream_without_obfuscation_is_the_usual_stream(client: FlaskClient) -> None:
    for options in ({"include_obfuscation": False}, {}, None):
        body = {"seed": 1, "stream": True, "stream_options": options}
        parts = events(client.post(PATH, json=body))
        assert all("obfuscation" not in part and "usage" not in part for part in parts)
    error = refused(client.post(PATH, json={"stream_options": {"include_obfuscation": True}}))
    assert error["message"] == (
        "include_obfuscation must be null or false (this server has no such setting), got true"
    )


# What programs send that their users never set, each a whole request as such a program writes it.
PROGRAMS = {
    "langchain": {
        "model": "small", "prompt": ["ab"] * 16, "temperature": 0.7, "top_p": 1,
        "frequency_penalty": 0, "presence_penalty": 0, "n": 1, "best_of": 1, "logit_bias": {},
        "max_tokens": 16, "seed": None, "logprobs": None, "stop": None,
    },
    "a benchmark of vllm": {
        "model": "small", "prompt": "ab", "temperature": 0.0, "repetition_penalty": 1.0,
        "max_tokens": 16, "logprobs": None, "stream": True, "ignore_eos": True, "min_tokens": 0,
        "stream_options": {"include_usage": True, "continuous_usage_stats": False}, "top_k": -1,
    },
    "an evaluation harness": {
        "model": "small", "prompt": ["ab", "e"], "temperature": 0, "max_tokens": 1, "logprobs": 1,
        "echo": True, "seed": 1234,
    },
    "a client of llama.cpp": {
        "prompt": "ab", "max_tokens": 16, "cache_prompt": True, "id_slot": -1, "n_probs": 0,
        "mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "typical_p": 1.0, "top_k": 40,
        "repeat_penalty": 1.0, "dry_multiplier": 0, "dry_base": 1.75, "dry_sequence_breakers": [],
        "xtc_probability": 0, "xtc_threshold": 0.1, "grammar": "", "min_p": 0.05,
    },
}  # fmt: skip


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS)
def test_what_programs_send_unasked_is_accepted(client: FlaskClient, body: dict[str, Any]) -> None:
    with client.post(PATH, json=body) as response:
        assert response.status_code == 200, response.text
