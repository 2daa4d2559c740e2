"""Whatever is sent has a defined answer, in JSON, before any work is begun."""

import json
import random
import sys
from typing import Any

import pytest

from budgets import load, soak
from carousel.generation.config import SamplingConfig
from carousel.server import strict_json
from carousel.server.app import create_app
from carousel.server.fields import Field, Number, Text, Texts, Whole
from carousel.server.no_ops import OrNoOp
from carousel.server.request import COMPLETION, MAX_PROMPT, SCORE
from carousel.server.strict_json import MAX_DEPTH, MAX_DIGITS
from server.answers import refused
from server.fake_engine import FakeEngine

PATH = "/v1/completions"
JSON = "application/json"

WRITER = FakeEngine()
CLIENT = create_app([WRITER]).test_client()

PROMPTS = (
    "prompt must be a text of 0 to 4000 characters, or a list of 1 to 16 such "
    "(token ids are not read)"
)

# What is sent, the field that the error names, and how its message begins.
WRONG: list[tuple[Any, str | None, str]] = [
    ({"model": "big"}, "model", "no model is called 'big'; there are small"),
    ({"model": ""}, "model", "no model is called ''; there are small"),
    ({"model": 1}, "model", "model must be a text of 0 to 500 characters, got 1"),
    (
        {"prompt": 3},
        "prompt",
        f"{PROMPTS}, got 3",
    ),
    (
        {"prompt": []},
        "prompt",
        f"{PROMPTS}, got a list of 0",
    ),
    ({"prompt": ["a"] * 17}, "prompt", f"{PROMPTS}, got a list of 17"),
    ({"prompt": ["a", 1]}, "prompt", f"{PROMPTS}, got a list of 2 whose item 1 is 1"),
    ({"prompt": ["a", None]}, "prompt", f"{PROMPTS}, got a list of 2 whose item 1 is null"),
    ({"prompt": [1, 2]}, "prompt", f"{PROMPTS}, got a list of 2 whose item 0 is 1"),
    ({"prompt": [["a"]]}, "prompt", f"{PROMPTS}, got a list of 1 whose item 0 is a list of 1"),
    (
        {"prompt": ["a", "b" * 4001]},
        "prompt",
        f"{PROMPTS}, got a list of 2 whose item 1 is a text of 4001 characters",
    ),
    ({"prompt": "a" * (MAX_PROMPT + 1)}, "prompt", "prompt must be a text of 0 to 4000 characters"),
    ({"prompt": ["b", "abx"]}, "prompt", "prompt[1]: 'x' (U+0078) at position 2 is not among the"),
    ({"prompt": "a\0"}, "prompt", r"prompt: '\x00' (U+0000) at position 1 is not among the model"),
    (
        {"prompt": "a\xa0"},
        "prompt",
        r"prompt: '\xa0' (U+00A0) at position 1 is not among the model's 17 characters; ' ' is",
    ),
    ({"prompt": "\ud800"}, "prompt", r"prompt: '\ud800' (U+D800) at position 0 is not among the "),
    ({"prompt": "ab\udc00"}, "prompt", r"prompt: '\udc00' (U+DC00) at position 2 is not among th"),
    ({"max_tokens": -1}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got -1"),
    ({"max_tokens": 4001}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got 4"),
    ({"max_tokens": True}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got t"),
    ({"max_tokens": 5.5}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got 5."),
    ({"max_tokens": "5"}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got '5"),
    ({"max_tokens": [5]}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got a "),
    ({"max_tokens": {}}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, got an "),
    ({"max_tokens": 10**999}, "max_tokens", "max_tokens must be a whole number from 0 to 4000, go"),
    ({"temperature": -0.1}, "temperature", "temperature must be a number from 0 to 2, got -0.1"),
    ({"temperature": 2.1}, "temperature", "temperature must be a number from 0 to 2, got 2.1"),
    ({"temperature": False}, "temperature", "temperature must be a number from 0 to 2, got false"),
    ({"temperature": 10**400}, "temperature", "temperature must be a number from 0 to 2, got a hu"),
    ({"temperature": "1"}, "temperature", "temperature must be a number from 0 to 2, got '1'"),
    ({"top_p": 0}, "top_p", "top_p must be a number above 0 to 1, got 0"),
    ({"top_p": 1.01}, "top_p", "top_p must be a number above 0 to 1, got 1.01"),
    ({"top_k": -2}, "top_k", "top_k must be a whole number from 1 to 1114112, or 0 or -1, got -2"),
    ({"top_k": False}, "top_k", "top_k must be a whole number from 1 to 1114112, or 0 or -1, got "),
    ({"min_p": 2}, "min_p", "min_p must be a number from 0 to 1, got 2"),
    ({"repetition_penalty": 0}, "repetition_penalty", "repetition_penalty must be a number above "),
    ({"repetition_window": 10**9}, "repetition_window", "repetition_window must be a whole number"),
    ({"candidates": 17}, "candidates", "candidates must be a whole number from 1 to 16, got 17"),
    ({"seed": -1}, "seed", "seed must be a whole number from 0 to 9007199254740991, got -1"),
    (
        {"seed": 2**53},
        "seed",
        "seed must be a whole number from 0 to 9007199254740991, got 90071992",
    ),
    ({"n": 0}, "n", "n must be a whole number from 1 to 16, got 0"),
    ({"n": 17}, "n", "n must be a whole number from 1 to 16, got 17"),
    (
        {"n": 8, "prompt": ["a"] * 3},
        "n",
        "a request is for at most 16 texts, got 3 prompts, n 8: 24 te",
    ),
    (
        {"n": 2, "prompt": ["a"] * 9},
        "n",
        "a request is for at most 16 texts, got 9 prompts, n 2: 18 texts",
    ),
    ({"logprobs": 6}, "logprobs", "logprobs must be a whole number from 0 to 5, or false, got 6"),
    (
        {"logprobs": True},
        "logprobs",
        "logprobs must be a whole number from 0 to 5, or false, got t",
    ),
    ({"echo": 1}, "echo", "echo must be true or false, got 1"),
    ({"stream": "yes"}, "stream", "stream must be true or false, got 'yes'"),
    ({"stream_options": []}, None, "stream_options must be a JSON object, got a list of 0"),
    (
        {"stream_options": {"usage": True}},
        "usage",
        "stream_options has no field 'usage'; there are",
    ),
    (
        {"stream_options": {"include_usage": 1}},
        "include_usage",
        "include_usage must be true or fal",
    ),
    ({"stop": ""}, "stop", "stop must be a text of 1 to 100 characters, or a list of 0 to 4 such"),
    (
        {"stop": [""]},
        "stop",
        "stop must be a text of 1 to 100 characters, or a list of 0 to 4 such",
    ),
    ({"stop": [1]}, "stop", "stop must be a text of 1 to 100 characters, or a list of 0 to 4 such"),
    (
        {"stop": ["a"] * 5},
        "stop",
        "stop must be a text of 1 to 100 characters, or a list of 0 to 4",
    ),
    (
        {"stop": "a" * 101},
        "stop",
        "stop must be a text of 1 to 100 characters, or a list of 0 to 4",
    ),
    ({"user": 1}, "user", "user must be a text of 0 to 500 characters (this server has "),
    ({"best_of": 2}, "best_of", "best_of must be null or n, got 2"),
    ({"n": 2, "best_of": 1}, "best_of", "best_of must be null or n, got 1"),
    ({"suffix": "a"}, "suffix", 'suffix must be null or "" (this server has no such setting), got'),
    ({"logit_bias": {"a": 1}}, "logit_bias", "logit_bias must be null, {} or an object of zeros ("),
    ({"frequency_penalty": 1}, "frequency_penalty", "frequency_penalty must be null or 0 (this se"),
    ({"presence_penalty": False}, "presence_penalty", "presence_penalty must be null or 0 (this "),
    (
        {"temprature": 1},
        "temprature",
        "the request has no field 'temprature'; there are model, pro",
    ),
    (
        {"": 1},
        None,
        "the request has no field ''; there are model, prompt, max_tokens, temperatu",
    ),
    (
        {"\ud800\n": 1},
        None,
        r"the request has no field '\ud800\n'; there are model, prompt, max_to",
    ),
    ({"x" * 9_000: 1}, None, "the request has no field 'xxxxxxxx"),
    ({"__class__": 1}, "__class__", "the request has no field '__class__'"),
    ([], None, "the request must be a JSON object, got a list of 0"),
    ("text", None, "the request must be a JSON object, got 'text'"),
    (None, None, "the request must be a JSON object, got null"),
    (7, None, "the request must be a JSON object, got 7"),
]


@pytest.mark.parametrize(("body", "param", "message"), WRONG, ids=map(str, range(len(WRONG))))
def test_a_wrong_value_is_named(body: Any, param: str | None, message: str) -> None:
    before = len(WRITER.jobs)
    response = CLIENT.post(PATH, data=json.dumps(body), content_type=JSON)
    error = refused(response, 404 if param == "model" and "no model" in message else 400)
    assert error["message"].startswith(message)
    assert error["param"] == param
    assert len(WRITER.jobs) == before


NO_JSON = {
    "empty": (b"", "Expecting value at character 0"),
    "cut": (b'{"n": 1', "Expecting ',' delimiter at character 7"),
    "quotes": (b"{'n': 1}", "Expecting property name enclosed in double quotes at character 1"),
    "comma": (b'{"n": 1,}', f" at character {7 if sys.version_info >= (3, 13) else 8}"),
    "more": (b'{"n": 1} {}', "Extra data at character 9"),
    "control": (b'{"prompt": "a\nb"}', "Invalid control character at character 13"),
    "half an escape": (b'{"prompt": "\\u12"}', "Invalid \\uXXXX escape at character 13"),
    "nan": (b'{"temperature": NaN}', "NaN is not a number of JSON"),
    "infinity": (b'{"temperature": -Infinity}', "-Infinity is not a number of JSON"),
    "hexadecimal": (b'{"n": 0x1}', "Expecting ',' delimiter at character 7"),
    "leading zero": (b'{"n": 01}', "Expecting ',' delimiter at character 7"),
    "bytes": (b'{"prompt": "\xff"}', "byte 12 is not UTF-8"),
    "overlong": (b'{"prompt": "\xc1\xa1"}', "byte 12 is not UTF-8"),
    "raw surrogate": (b'{"prompt": "\xed\xa0\x80"}', "byte 12 is not UTF-8"),
    "utf-16": ('{"n": 1}'.encode("utf-16"), "byte 0 is not UTF-8"),
    "utf-16 without mark": ('{"n": 1}'.encode("utf-16-le"), "at character 1"),
    "mark": (b'\xef\xbb\xbf{"n": 1}', "Unexpected UTF-8 BOM"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "byte 1 is not UTF-8"),
    "deep": (b"[" * 60_000, "it is nested too deeply; 500 levels would work"),
    "deep and whole": (b'{"n":' * 9_000 + b"1" + b"}" * 9_000, "it is nested too deeply"),
    "a level too deep": (b"[" * 501 + b"]" * 501, "it is nested too deeply"),
    "digits": (b'{"seed": ' + b"9" * 5000 + b"}", f"has 5000 digits; {MAX_DIGITS} would work"),
    "twice": (b'{"n": 1, "n": 1}', "the field 'n' stands twice"),
    "twice within": (b'{"stream_options": {"\\u0061\\n": 1, "a\\n": 2}}', r"field 'a\n' stands tw"),
}


@pytest.mark.parametrize(("data", "reason"), NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_told(data: bytes, reason: str) -> None:
    error = refused(CLIENT.post(PATH, data=data, content_type=JSON))
    assert error["message"].startswith("the body is not valid JSON: ")
    assert reason in error["message"]
    assert error["code"] == "invalid_json"


def test_brackets_side_by_side_and_in_strings_are_not_deep() -> None:
    string = '[{"' * 600
    for data in ([[]] * 1000, {"prompt": string}, [string, "\\", string]):
        assert strict_json.parse(json.dumps(data).encode()) == data
    whole = b"[" * MAX_DEPTH + b'"]"' + b"]" * MAX_DEPTH
    assert strict_json.depth(whole.decode()) == MAX_DEPTH
    strict_json.parse(whole)


@pytest.mark.parametrize("depth", [10, 100, 900, 2000])
def test_depth_is_no_matter(depth: int) -> None:
    for data in (b"[" * depth + b"]" * depth, b'{"n":' * depth + b"1" + b"}" * depth):
        refused(CLIENT.post(PATH, data=data, content_type=JSON))


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"1e999999999", b"0." + b"1" * 9_000 + b"e9"]
)
def test_numbers_beyond_all_floats_are_out_of_range(number: bytes) -> None:
    for name in ("n", "temperature", "seed"):
        data = b'{"%s": %s}' % (name.encode(), number)
        error = refused(CLIENT.post(PATH, data=data, content_type=JSON))
        assert error["param"] == name


@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
        "application/jsonp", "application/vnd.api+json", "application", "json\x7f",
    ],
)  # fmt: skip
def test_json_must_be_declared(kind: str | None) -> None:
    error = refused(CLIENT.post(PATH, data='{"prompt": "a"}', content_type=kind), 415)
    assert "Content-Type: application/json" in error["message"]


def test_a_packed_body_is_refused() -> None:
    client = create_app([FakeEngine()]).test_client()
    body = {"prompt": "a", "max_tokens": 1}
    for coding, status in (("identity", 200), ("gzip", 415), ("br, identity", 415)):
        headers = {"Content-Encoding": coding}
        assert client.post("/v1/completions", json=body, headers=headers).status_code == status


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=latin-1"])
def test_json_is_utf_8_whatever_is_declared(kind: str) -> None:
    data = '{"prompt": "é“"}'.encode()
    assert CLIENT.post(PATH, data=data, content_type=kind).status_code == 200


def test_a_whole_float_is_a_whole_number_as_in_json_schema() -> None:
    body = b'{"max_tokens": 5.0, "n": 2e0, "seed": 9007199254740991.0}'
    answer = CLIENT.post(PATH, data=body, content_type=JSON).json
    assert [len(choice["text"]) for choice in answer["choices"]] == [5, 5]
    assert answer["seed"] == 9007199254740991


def ends(field: Field) -> list[Any]:
    """Return the least and the most that a field takes."""
    match field:
        case Number(low=low, high=high, is_open=is_open):
            return [5e-324 if is_open else low, high]
        case Whole(low=low, high=high):
            return [low, high]
        case Text(low=low, high=high):
            return ["a" * low, "a" * high]
        case OrNoOp(field=inner):
            return ends(inner)
        case Texts(each=each, low=low, high=high):
            return [*ends(each), ["a" * each.low] * low, ["a" * each.high] * high]
    return []


SAMPLING = [name for name in COMPLETION if name in SamplingConfig.__dataclass_fields__]


@pytest.mark.parametrize("name", SAMPLING)
def test_the_limits_lie_within_those_of_sampling(name: str) -> None:
    for value in ends(COMPLETION[name]):
        SamplingConfig(**{name: COMPLETION[name].read(value)})


@pytest.mark.parametrize(
    ("path", "name"),
    [(PATH, name) for name in COMPLETION] + [("/v1/score", name) for name in SCORE],
)
def test_what_lies_at_a_limit_is_taken(path: str, name: str) -> None:
    field = (COMPLETION if path == PATH else SCORE)[name]
    for value in ends(field):
        body = {name: value} | ({"n": value} if name == "best_of" else {})
        if path == "/v1/score":
            body = {"text": "ab"} | body
        data = json.dumps(body)
        response = CLIENT.post(path, data=data, content_type=JSON)
        assert response.status_code == (404 if name == "model" else 200), response.text


# Bodies at random: half right, all wrong, and damaged; the answer is one of those that are defined.

ODD = [
    None, True, False, 0, 1, -1, 2, 8, 16, 4000, 4001, 2**53, 2**64, 10**400, -(10**999), 0.5, 1.5,
    -0.0, 5e-324, 1e308, float("nan"), float("inf"), -float("inf"), "", "a", "ab\n", "\0", "\ud800",
    "\udfff\ud800", "é“😀", "x", "\u202e\x1b", "a" * 4000, "a" * 4001, "small", "NaN", "1", [], {},
    [[]], ["a"], ["a", "b"], ["a"] * 9, [1], [None], {"include_usage": True}, {"a": {"b": []}},
]  # fmt: skip


def random_body(chooser: random.Random) -> bytes:
    """Return a body: an object of a few fields, or some other value; now and then damaged."""
    names = [*COMPLETION, *SCORE, "", "temprature", "\ud800", "x" * 100]
    picked = chooser.choices(names, k=chooser.choice([0, 1, 1, 2, 3, 5, 20]))
    value: Any = {name: chooser.choice(ODD) for name in picked}
    if chooser.random() < 0.1:
        value = chooser.choice([*ODD, value, [value]])
    text = json.dumps(value, ensure_ascii=chooser.random() < 0.8)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if chooser.random() < 0.3:
        for _ in range(chooser.choice([1, 1, 5])):
            place = chooser.randrange(len(data) + 1)
            data[place : place + chooser.randrange(3)] = chooser.randbytes(chooser.randrange(4))
    return bytes(data)


COUNT = load(1_500, 20_000)


@soak
def test_random_bodies_have_a_defined_answer() -> None:
    chooser = random.Random(7)
    statuses: dict[int, int] = {}
    for _ in range(COUNT):
        path = chooser.choice([PATH, PATH, "/v1/score"])
        kind = chooser.choice([JSON] * 9 + ["text/plain", "application/json; x=\xff"])
        response = CLIENT.post(path, data=random_body(chooser), content_type=kind)
        status = response.status_code
        statuses[status] = statuses.get(status, 0) + 1
        if status == 200:
            response.data.decode()
            response.close()
            continue
        assert status in (400, 404, 413, 415), response.text
        refused(response, status)
    assert min(statuses.get(status, 0) for status in (200, 400, 415)) > COUNT / 100, statuses
