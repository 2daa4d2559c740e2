"""How much a client may have written."""

import math
import threading

import pytest
from flask.testing import FlaskClient

from carousel.server.app import create_app
from carousel.server.rate_limit import RateLimit
from carousel.server.types import Unavailable
from server.answers import events, refused
from server.fake_engine import FakeEngine


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_empties_and_fills_again() -> None:
    clock = Clock()
    rate_limit = RateLimit(600, clock=clock)
    assert rate_limit.take("a", 400) == 0
    assert rate_limit.take("a", 400) == pytest.approx(20)  # 200 too many, at 10 a second
    assert rate_limit.take("b", 600) == 0  # another client
    clock.now += 10
    assert rate_limit.take("a", 400) == pytest.approx(10)
    clock.now += 10
    assert rate_limit.take("a", 400) == 0
    clock.now += 1000
    assert rate_limit.take("a", 601) == math.inf
    assert rate_limit.take("a", 600) == 0  # no more than full


def test_what_is_given_back_can_be_used_but_never_more_than_all() -> None:
    rate_limit = RateLimit(600, clock=Clock())
    rate_limit.take("a", 600)
    rate_limit.refund("a", 100)
    assert rate_limit.take("a", 101) > 0
    assert rate_limit.take("a", 100) == 0
    rate_limit.refund("a", 10_000)
    rate_limit.refund("stranger", 10_000)
    for client in ("a", "stranger"):
        assert rate_limit.take(client, 600) == 0
        assert rate_limit.take(client, 1) > 0


def test_memory_is_bounded_and_whoever_asks_is_remembered() -> None:
    rate_limit = RateLimit(600, clock=Clock(), max_clients=10)
    rate_limit.take("a", 600)
    for number in range(1000):
        rate_limit.take(str(number), 1)
        assert rate_limit.take("a", 1) > 0  # who asks is not forgotten
        assert len(rate_limit) <= 10


def test_requests_at_the_same_time_do_not_exceed_it_together() -> None:
    rate_limit = RateLimit(1000, clock=Clock())
    granted = []

    def ask() -> None:
        granted.extend(rate_limit.take("a", 10) == 0 for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 100


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app([engine], characters_per_minute=1000).test_client()


def test_a_client_who_has_had_enough_is_told_when_to_come_again(client: FlaskClient) -> None:
    assert client.post("/v1/completions", json={"max_tokens": 600}).status_code == 200
    for path, body in (
        ("/v1/completions", {"max_tokens": 600}),
        ("/v1/completions", {"max_tokens": 300, "n": 2, "stream": True}),
        ("/v1/score", {"text": "a" * 600}),
    ):
        response = client.post(path, json=body)
        error = refused(response, 429)
        assert (error["code"], response.headers["Retry-After"]) == ("rate_limit_exceeded", "12")
        assert "1000 characters a minute; these are free in 12 s" in error["message"]
    assert client.post("/v1/completions", json={"max_tokens": 400}).status_code == 200
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    answer = client.post("/v1/completions", json={"max_tokens": 600}, **elsewhere)
    assert answer.status_code == 200


def test_what_never_fits_is_a_mistake_rather_than_a_matter_of_time(client: FlaskClient) -> None:
    error = refused(client.post("/v1/completions", json={"max_tokens": 501, "n": 2}))
    assert error["code"] == "over_budget"
    assert "up to 1002 characters" in error["message"]


def test_each_candidate_of_a_sentence_counts(client: FlaskClient) -> None:
    params = {"max_tokens": 126, "candidates": 8}
    error = refused(client.post("/v1/completions", json=params))
    assert "up to 1008 characters" in error["message"]
    assert "fewer candidates" in error["message"]
    assert client.post("/v1/completions", json=params | {"max_tokens": 100}).status_code == 200
    refused(client.post("/v1/completions", json={"max_tokens": 201}), 429)  # 200 are left
    assert client.post("/v1/completions", json={"max_tokens": 190}).status_code == 200


def test_only_what_was_written_counts(client: FlaskClient, engine: FakeEngine) -> None:
    whole = client.post("/v1/completions", json={"max_tokens": 100, "seed": 1}).json
    text = whole["choices"][0]["text"]  # 900 left
    params = {"max_tokens": 900, "seed": 1, "stop": text[9], "stream": True}
    answer = events(client.post("/v1/completions", json=params))
    used = sum(len(choice["text"]) for part in answer for choice in part["choices"])
    assert used < 100
    left = 900 - used
    refused(client.post("/v1/completions", json={"max_tokens": left + 50}), 429)
    engine.api_error = Unavailable("nobody is there")
    refused(client.post("/v1/completions", json={"max_tokens": left}), 503)
    engine.api_error = None
    with client.post("/v1/completions", json={"max_tokens": left, "stream": True}, buffered=False):
        pass  # who leaves gets back what is not written
    assert client.post("/v1/completions", json={"max_tokens": left}).status_code == 200
    refused(client.post("/v1/completions", json={"max_tokens": 50}), 429)


def test_with_a_token_all_clients_share_it(engine: FakeEngine) -> None:
    app = create_app([engine], characters_per_minute=1000, token="t")
    headers = {"Authorization": "Bearer t"}
    statuses = [
        app.test_client()
        .post(
            "/v1/completions",
            json={"max_tokens": 600},
            headers=headers,
            environ_base={"REMOTE_ADDR": address},
        )
        .status_code
        for address in ("192.0.2.7", "192.0.2.8")
    ]
    assert statuses == [200, 429]
