"""The app as a whole: addresses, errors, headers, the token, the log, the counts, the health."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

import carousel
from carousel.errors import ConfigError
from carousel.server.app import create_app
from carousel.server.request import MAX_BODY, MAX_LENGTH, MAX_PROMPT
from carousel.server.types import Busy, Overloaded, Unavailable
from server.answers import events, refused
from server.fake_engine import CHARACTERS, FakeEngine, model_info


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(model_info("<b>small</b>"))


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app([engine, FakeEngine(model_info("other", "ab", max_length=30))]).test_client()


def samples(client: FlaskClient, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's values by its labels, those that are 0 left out."""
    with client.get("/metrics") as response:
        families = list(text_string_to_metric_families(response.text))
    assert any(name.startswith(family.name) for family in families)
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in found if sample.value}


def test_the_front_knows_no_torch() -> None:
    code = "import sys, carousel.server.app; print({'torch', 'carousel.models'} & {*sys.modules})"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_files_are_short() -> None:
    for file in (Path(carousel.__file__).parent / "server").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 300, file.name


def test_models_are_listed_and_found(client: FlaskClient) -> None:
    first = {
        "id": "<b>small</b>", "object": "model", "created": 1_700_000_000, "owned_by": "carousel",
        "vocab_size": len(CHARACTERS), "longest_stream": None,
    }  # fmt: skip
    listed = client.get("/v1/models").json
    assert listed["object"] == "list"
    assert listed["data"][0] == first
    assert listed["data"][1] == first | {"id": "other", "vocab_size": 2, "longest_stream": 30}
    assert client.get("/v1/models/other").json == listed["data"][1]
    error = refused(client.get("/v1/models/no%0asuch"), 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert error["message"] == r"no model is called 'no\nsuch'; there are <b>small</b>, other"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nosuch", 404),
        ("GET", "/static/nosuch.js", 404),
        ("GET", "/static/../app.py", 404),
        ("POST", "/v1//completions", 404),
        ("GET", "/v1/completions/", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/score", 405),
        ("POST", "/health/live", 405),
        ("BREW\x7f", "/", 405),
    ],
)
def test_other_addresses_and_methods(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method)
    refused(response, status)
    assert bool(response.headers.get("Allow")) == (status == 405)


def test_who_comes_to_a_wrong_address_is_told_of_the_right_one(client: FlaskClient) -> None:
    chat = refused(client.post("/v1/chat/completions", json={}), 404)
    assert "POST /v1/completions writes" in chat["message"]
    assert refused(client.get("/v1/completions"), 405)["message"] == "this address takes POST"
    assert refused(client.post("/v1/models"), 405)["message"] == "this address takes GET"


def test_every_answer_is_protected_and_numbered(client: FlaskClient) -> None:
    numbers = set()
    for response in (
        client.get("/"),
        client.get("/static/page.js"),
        client.get("/nosuch"),
        client.get("/metrics"),
        client.post("/v1/completions", json={"stream": True}),
        client.post("/v1/completions", json={"n": 0}),
    ):
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        numbers.add(response.headers["X-Request-Id"])
        response.close()
    assert len(numbers) == 6
    assert all(re.fullmatch("req-[0-9a-f]{32}", number) for number in numbers)


def test_health_says_why_it_is_not_ready(client: FlaskClient, engine: FakeEngine) -> None:
    assert client.get("/health/live").json == {"status": "live"}
    assert client.get("/health/ready").json == {"status": "ready"}
    engine.why_not = "its worker is being started"
    response = client.get("/health/ready")
    error = refused(response, 503)
    assert error["message"] == "<b>small</b>: its worker is being started"
    assert response.headers["Retry-After"] == "1"
    assert client.get("/health/live").status_code == 200
    assert samples(client, "carousel_ready") == {("other",): 1}


def test_no_room_and_nobody_there_are_told_with_when_to_ask_again(
    client: FlaskClient, engine: FakeEngine
) -> None:
    for api_error, status, code in (
        (Busy("64 texts are being written"), 429, "busy"),
        (Overloaded("the server is full"), 503, "overloaded"),
        (Unavailable("its worker died"), 503, "unavailable"),
    ):
        engine.api_error = api_error
        for path, body in (
            ("/v1/completions", {"stream": True}),
            ("/v1/completions", {}),
            ("/v1/score", {"text": "ab"}),
        ):
            response = client.post(path, json=body)
            assert refused(response, status)["code"] == code
            assert response.headers["Retry-After"] == "1"
            assert samples(client, "carousel_active_texts") == {}


def test_what_nobody_foresaw_is_500_and_says_no_more(
    client: FlaskClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.failure = ZeroDivisionError("a secret")
    for path, body in (("/v1/completions", {}), ("/v1/score", {"text": "ab"})):
        error = refused(client.post(path, json=body), 500)
        assert "secret" not in error["message"]
    (event,) = events(client.post("/v1/completions", json={"stream": True}))
    assert (event["error"]["code"], "secret" in str(event)) == ("failed", False)
    # Servers of other tests may log too, in threads of theirs.
    told = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert told == [engine.failure] * 3
    assert samples(client, "carousel_rejected_total") == {("failed",): 3}


# The token


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer öl", "Basic to-ken", "Bearer to-kens", "to-ken"],
)
def test_without_the_token_only_page_and_health_are_served(header: str | None) -> None:
    client = create_app([FakeEngine()], token="to-ken").test_client()
    headers = {} if header is None else {"Authorization": header.encode().decode("latin-1")}
    for method, path in (
        ("POST", "/v1/completions"), ("POST", "/v1/score"), ("GET", "/v1/models"),
        ("GET", "/v1/models/small"), ("GET", "/metrics"), ("GET", "/openapi.json"),
        ("GET", "/nosuch"), ("GET", "/v1/score"),
    ):  # fmt: skip
        response = client.open(path, method=method, headers=headers)
        assert refused(response, 401)["code"] == "invalid_api_key"
        assert response.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/", "/static/page.js", "/static/page.css", "/health/live", "/health/ready"):
        with client.get(path, headers=headers) as response:
            assert response.status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_with_the_token_all_are_served(scheme: str) -> None:
    client = create_app([FakeEngine()], token="to-ken").test_client()
    headers = {"Authorization": f"{scheme} to-ken"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    assert client.post("/v1/completions", json={}, headers=headers).status_code == 200


def test_the_page_asks_for_a_token_where_one_is_needed() -> None:
    pages = [
        create_app([FakeEngine()], token=token).test_client().get("/").text
        for token in (None, "secret")
    ]
    assert ['id="token"' in page for page in pages] == [False, True]
    assert "secret" not in pages[1]


# The log


def test_a_line_for_each_request_and_none_of_its_words(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "carousel.server")
    answers = [
        client.post("/v1/completions", json={"prompt": "abba", "max_tokens": 9}),
        client.post("/v1/completions", json={"prompt": "abba", "max_tokens": 9, "stream": True}),
        client.post("/v1/score", json={"text": "abba"}),
        client.get("/nosuch-abba\x1b[31m"),
        client.open("/", method="ABBA\x1b"),
        client.post("/v1/completions", json={"prompt": "\x1babba\ud800"}),
    ]
    for answer in answers:
        _ = answer.data
        answer.close()
    lines = [record.getMessage() for record in caplog.records]
    assert [re.sub(r" \d+ ms", "", line.split(" ", 1)[1]) for line in lines] == [
        "POST /v1/completions 200 9 characters",
        "POST /v1/completions 200 9 characters",
        "POST /v1/score 200 4 characters",
        "GET unknown 404 0 characters",
        "OTHER unknown 405 0 characters",
        "POST /v1/completions 400 0 characters",
    ]
    numbers = [line.split(" ", 1)[0] for line in lines]
    assert numbers == [answer.headers["X-Request-Id"] for answer in answers]
    assert "abba" not in caplog.text.lower()


def test_prompts_are_logged_where_that_is_wanted_and_do_nothing_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "carousel.server")
    client = create_app([FakeEngine()], log_prompts=True).test_client()
    with client.post("/v1/completions", json={"prompt": ["a\n\x1b", "é"], "n": 2}):
        pass
    (record,) = caplog.records
    assert record.getMessage().endswith(r" ms prompt='a\n\x1b' prompt='\xe9'")


# The counts


def test_what_is_counted(client: FlaskClient, engine: FakeEngine) -> None:
    for body in ({"prompt": ["abc", "a"], "n": 2, "max_tokens": 9}, {"temperature": 3}):
        client.post("/v1/completions", json=body).close()
    client.post("/v1/score", json={"text": "abba", "model": "other"}).close()
    client.get("/nosuch").close()
    client.get("/nosuch/either").close()
    half = client.post("/v1/completions", json={"max_tokens": 50, "stream": True}, buffered=False)
    assert samples(client, "carousel_active_texts") == {("<b>small</b>",): 1}
    half.close()
    assert samples(client, "carousel_active_texts") == {}
    assert samples(client, "carousel_characters_written_total") == {("<b>small</b>",): 36}
    assert samples(client, "carousel_characters_read_total") == {
        ("<b>small</b>",): 8,
        ("other",): 4,
    }
    requests = samples(client, "carousel_requests_total")
    assert requests.pop(("/metrics", "200")) >= 4
    assert requests == {
        ("/v1/completions", "200"): 1,
        ("/v1/completions", "400"): 1,
        ("/v1/completions", "499"): 1,
        ("/v1/score", "200"): 1,
        ("unknown", "404"): 2,
    }
    assert samples(client, "carousel_rejected_total") == {
        ("gone",): 1,
        ("invalid",): 1,
        ("not_found",): 2,
    }
    assert samples(client, "carousel_first_character_seconds_count") == {
        ("<b>small</b>",): 4,
        ("other",): 1,
    }
    assert samples(client, "carousel_request_seconds_count")["/v1/completions",] == 3
    assert samples(client, "carousel_ready") == {("<b>small</b>",): 1, ("other",): 1}
    assert samples(client, "process_open_fds")


def test_apps_count_apart() -> None:
    first, second = (create_app([FakeEngine()]).test_client() for _ in range(2))
    first.get("/nosuch").close()
    assert samples(second, "carousel_requests_total").keys() <= {("/metrics", "200")}


# The page, and what an app is made of


def test_the_page_holds_the_limits_and_escapes_the_names(client: FlaskClient) -> None:
    page = client.get("/").text
    assert "<b>" not in page
    assert page.count("&lt;b&gt;small&lt;/b&gt;") == 2
    assert f'maxlength="{MAX_PROMPT}"' in page
    assert f'max="{MAX_LENGTH}"' in page
    assert f'max="{len(CHARACTERS)}"' in page
    assert 'data-max-length="30"' in page
    assert "style=" not in page
    assert "http" not in page  # nothing from elsewhere


@pytest.mark.parametrize(
    ("longest", "opening", "length"),
    [(50, "", ""), (610, "", ""), (616, "Once upon a time", ""), (None, "Once upon a time", "600")],
)
def test_what_stands_in_the_form_at_first_can_be_told(
    longest: int | None, opening: str, length: str
) -> None:
    """Also where the model's positions end before the usual length."""
    about = model_info("small", sorted(set("Once upon a time")), max_length=longest)
    client = create_app([FakeEngine(about)]).test_client()
    page = client.get("/").text
    assert re.search(r">([^<]*)</textarea>", page)[1] == opening
    most, value = re.search(r'id="length".*max="(\d+)" value="(\d*)"', page).groups()
    assert (most, value) == (str(longest or MAX_LENGTH), length)
    params = {"prompt": opening, "max_tokens": int(value or most)}
    text = client.post("/v1/completions", json=params).json["choices"][0]["text"]
    assert len(text) == (600 if longest is None else longest + 1 - max(1, len(opening)))


def test_the_form_is_empty_where_the_model_cannot_spell_the_opening() -> None:
    page = create_app([FakeEngine(model_info("small", "abc"))]).test_client().get("/").text
    assert "></textarea>" in page


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["a", "b", "a"], {}, r"names of their own.*\['a', 'b', 'a'\]"),
        ([], {}, "names of their own, and one at least"),
        (["a"], {"token": ""}, "token must be of letters, digits and signs of ASCII"),
        (["a"], {"token": "a b"}, "token must be of letters, digits and signs of ASCII"),
        (["a"], {"token": "tür"}, "token must be of letters, digits and signs of ASCII"),
        (["a"], {"characters_per_minute": 0}, "characters_per_minute must be a whole number"),
        (["a"], {"seconds": 0}, "seconds must be a positive number, got 0"),
        (["a"], {"seconds": float("nan")}, "seconds must be a positive number, got nan"),
    ],
)
def test_impossible_apps_are_refused(names: list[str], settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_app([FakeEngine(model_info(name)) for name in names], **settings)


def test_a_long_body_is_refused_before_it_is_read(client: FlaskClient) -> None:
    body = b'{"prompt": "' + b"a" * MAX_BODY + b'"}'
    response = client.post("/v1/completions", data=body, content_type="application/json")
    assert refused(response, 413)["message"] == f"a request holds at most {MAX_BODY} bytes"
