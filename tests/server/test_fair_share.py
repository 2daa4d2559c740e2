"""A share of the places for each client, whoever came first; alone, a client has them all."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from budgets import load, say, soak
from carousel.data.vocabulary import Vocabulary
from carousel.server.app import create_app
from carousel.server.fair_share import BEGUN, may_begin, running, shares
from carousel.server.types import Busy, Job, Text
from server.client import JSON, get
from server.running import Slow, served, thread_writer, until

VOCABULARY = Vocabulary.from_text("\n abcde")
V = len(VOCABULARY)
LONG = Job(prompt="a", length=4000)


@pytest.mark.parametrize(
    ("wanted", "places", "expected"),
    [
        ({}, 4, {}),
        ({"a": 100}, 64, {"a": 64}),
        ({"a": 64, "b": 16}, 64, {"a": 48, "b": 16}),
        ({"a": 64, "b": 64}, 64, {"a": 32, "b": 32}),
        ({"a": 64, "b": 64, "c": 1}, 64, {"a": 32, "b": 31, "c": 1}),
        ({"a": 9, "b": 1, "c": 1}, 2, {"a": 0, "b": 1, "c": 1}),
        ({"a": 3, "b": 3}, 10, {"a": 3, "b": 3}),
    ],
)
def test_equal_shares_and_what_one_does_not_need_is_the_others(
    wanted: dict[str, int], places: int, expected: dict[str, int]
) -> None:
    assert shares(wanted, places) == expected


def test_no_place_stays_empty_and_nobody_with_less_has_to_wait() -> None:
    chooser = random.Random(0)
    for _ in range(500):
        clients = "abcdefgh"[: chooser.randrange(1, 9)]
        texts = {key: chooser.choice(clients) for key in range(chooser.randrange(40))}
        places = chooser.randrange(1, 20)
        found = running(texts, places)
        assert len(found) == min(places, len(texts))
        wanted, got = Counter(texts.values()), Counter(texts[key] for key in found)
        for client in wanted:
            if got[client] < wanted[client]:
                assert got[client] + 1 >= max(got.values()), (texts, places)
            keys = [key for key in texts if texts[key] == client]
            assert set(keys[: got[client]]) <= found  # the oldest


def test_who_has_nothing_may_begin_and_who_has_a_share_may_not_exceed_it() -> None:
    texts = dict.fromkeys(range(64), "a")
    assert not may_begin(texts, "a", 1, 64)
    assert may_begin(texts, "b", 16, 64)
    texts |= dict.fromkeys(range(64, 80), "b")
    assert may_begin(texts, "b", 16, 64)
    assert not may_begin(texts, "b", 17, 64)
    assert not may_begin(texts, "a", 1, 64)
    texts |= {200 + k: f"c{k}" for k in range(BEGUN * 64 - 80)}
    assert not may_begin(texts, "new", 1, 64)  # whoever asks: the number is bounded


def finish(text: Text) -> str:
    """Return the rest of a text."""
    whole = ""
    while (piece := text.next(20)) is not None:
        whole += piece.text
        if piece.finish:
            break
    return whole


def count(text: Text, seconds: float) -> int:
    """Return how many characters come in so many seconds."""
    end = time.monotonic() + seconds
    number = 0
    while (left := end - time.monotonic()) > 0:
        piece = text.next(left)
        number += len(piece.text) if piece else 0
    return number


@pytest.mark.serial
def test_who_comes_later_has_a_share_at_once() -> None:
    model = Slow(V, 0.005)
    with thread_writer(model, VOCABULARY, max_streams=8) as it:
        many = [text for _ in range(2) for text in it.write([LONG] * 4, "a")]
        with pytest.raises(Busy):
            it.write([LONG], "a")
        began = time.monotonic()
        mine = it.write([Job(prompt="a", length=20)] * 4, "b")
        assert all(len(finish(text)) == 20 for text in mine)
        assert time.monotonic() - began < 3
        assert all(count(text, 0.1) >= 0 for text in many)
        assert until(lambda: not it._paused)
        assert all(count(text, 0.5) > 0 for text in many[-2:])  # they go on


@pytest.mark.serial
def test_no_more_than_the_places_are_written_at_a_time() -> None:
    model = Slow(V, 0.005)
    with thread_writer(model, VOCABULARY, max_streams=4) as it:
        many = it.write([LONG] * 4, "a")
        other = it.write([LONG] * 4, "b")
        assert len(it) == 8
        assert it._paused == {2, 3, 6, 7}  # the newest of each
        time.sleep(0.3)
        for text in (many[3], other[3]):
            count(text, 0.05)
            assert count(text, 0.3) == 0
        assert count(many[0], 0.3) > 0
        assert count(other[0], 0.3) > 0
        for text in (*many, *other[:2]):
            text.cancel()
        assert it._paused == set()
        assert count(other[3], 0.5) > 0


def test_a_text_is_the_same_whether_it_was_paused_or_not() -> None:
    job = Job(prompt="a", length=300)
    with thread_writer(Slow(V, 0), VOCABULARY, max_streams=2) as it:
        alone = finish(it.write([job])[0])
    with thread_writer(Slow(V, 0.001), VOCABULARY, max_streams=2) as it:
        first, second = it.write([job, job], "a")
        for _ in range(5):
            (other,) = it.write([Job(prompt="b", length=20)], "b")
            assert it._paused
            finish(other)
        assert [finish(first), finish(second)] == [alone, alone]


def test_a_dead_worker_leaves_nothing_paused() -> None:
    with thread_writer(Slow(V, 0.002), VOCABULARY, max_streams=2) as it:
        it.write([LONG] * 2, "a")
        it.write([LONG], "b")
        assert it.worker is not None
        it.worker.kill()
        assert until(lambda: len(it) == 0 and it.obstacle() is None)
        (text,) = it.write([Job(prompt="a", length=5)], "a")
        assert len(finish(text)) == 5


def asked(port: int, address: str, **body: object) -> tuple[int, float]:
    """Ask from an address of this machine; return the status and the seconds that it took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=90, source_address=(address, 0)
    )
    with closing(connection):
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "ab", **body}), JSON)
        with connection.getresponse() as response:
            response.read()
            return response.status, time.monotonic() - began


@soak
@pytest.mark.serial
def test_four_requests_for_all_places_do_not_keep_other_clients_waiting() -> None:
    with (
        thread_writer(Slow(V, 0.005), VOCABULARY) as it,
        served(create_app([it], seconds=load(10, 60))) as server,
    ):
        many = {"n": 16, "max_tokens": 4000}
        threads = [
            threading.Thread(target=asked, args=(server.port, "127.0.0.2"), kwargs=many)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert until(lambda: len(it) == 64)
        took = []
        for _ in range(load(5, 200)):
            status, seconds = asked(server.port, "127.0.0.3", max_tokens=10, n=4)
            assert status == 200
            took.append(seconds)
            assert get(server.port, "/health/live")[0] == 200
        took.sort()
        say(f"beside one client with all places: p50 {took[len(took) // 2]:.2f} s")
        assert took[len(took) // 2] < 3
        for thread in threads:
            thread.join()
