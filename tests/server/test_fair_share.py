"""A share of the places for each client, whoever came first; alone, a client has them all."""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from budgets import load, say, soak
from carousel.data.vocabulary import Vocabulary
from carousel.server.app import create_app
from carousel.server.fair_share import (
    BEGUN,
    may_begin,
    rest_of_share,
    running,
    shares,
    texts_to_end,
)
from carousel.server.supervised_worker import OVERLOADED
from carousel.server.types import Busy, Job, TextStream
from server.client import JSON, get
from server.running import Slow, served, thread_engine, until

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


def finish_reason(text: TextStream) -> str:
    """Return the rest of a text."""
    whole = ""
    while (chunk := text.next(20)) is not None:
        whole += chunk.text
        if chunk.finish_reason:
            break
    return whole


def count(text: TextStream, seconds: float) -> int:
    """Return how many characters come in so many seconds."""
    end = time.monotonic() + seconds
    number = 0
    while (left := end - time.monotonic()) > 0:
        chunk = text.next(left)
        number += len(chunk.text) if chunk else 0
    return number


@pytest.mark.serial
def test_who_comes_later_has_a_share_at_once() -> None:
    model = Slow(V, 0.005)
    with thread_engine(model, VOCABULARY, max_streams=8) as it:
        many = [text for _ in range(2) for text in it.submit([LONG] * 4, "a")]
        with pytest.raises(Busy):
            it.submit([LONG], "a")
        began = time.monotonic()
        mine = it.submit([Job(prompt="a", length=20)] * 4, "b")
        assert all(len(finish_reason(text)) == 20 for text in mine)
        assert time.monotonic() - began < 3
        assert all(count(text, 0.1) >= 0 for text in many)
        assert until(lambda: not it._paused)
        assert all(count(text, 0.5) > 0 for text in many[-2:])  # they go on


@pytest.mark.serial
def test_no_more_than_the_places_are_written_at_a_time() -> None:
    model = Slow(V, 0.005)
    with thread_engine(model, VOCABULARY, max_streams=4) as it:
        many = it.submit([LONG] * 4, "a")
        other = it.submit([LONG] * 4, "b")
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
    with thread_engine(Slow(V, 0), VOCABULARY, max_streams=2) as it:
        alone = finish_reason(it.submit([job])[0])
    with thread_engine(Slow(V, 0.001), VOCABULARY, max_streams=2) as it:
        first, second = it.submit([job, job], "a")
        for _ in range(5):
            (other,) = it.submit([Job(prompt="b", length=20)], "b")
            assert it._paused
            finish_reason(other)
        assert [finish_reason(first), finish_reason(second)] == [alone, alone]


def test_a_dead_worker_leaves_nothing_paused() -> None:
    with thread_engine(Slow(V, 0.002), VOCABULARY, max_streams=2) as it:
        it.submit([LONG] * 2, "a")
        it.submit([LONG], "b")
        assert it.worker is not None
        it.worker.kill()
        assert until(lambda: len(it) == 0 and it.unavailable_reason() is None)
        (text,) = it.submit([Job(prompt="a", length=5)], "a")
        assert len(finish_reason(text)) == 5


def params(port: int, address: str, **body: object) -> tuple[int, float]:
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
        thread_engine(Slow(V, 0.005), VOCABULARY) as it,
        served(create_app([it], seconds=load(10, 60))) as server,
    ):
        many = {"n": 16, "max_tokens": 4000}
        threads = [
            threading.Thread(target=params, args=(server.port, "127.0.0.2"), kwargs=many)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert until(lambda: len(it) == 64)
        took = []
        for _ in range(load(5, 200)):
            status, seconds = params(server.port, "127.0.0.3", max_tokens=10, n=4)
            assert status == 200
            took.append(seconds)
            assert get(server.port, "/health/live")[0] == 200
        took.sort()
        say(f"beside one client with all places: p50 {took[len(took) // 2]:.2f} s")
        assert took[len(took) // 2] < 3
        for thread in threads:
            thread.join()


def filled(clients: int, n: int) -> tuple[dict[int, str], dict[int, int]]:
    """Return the texts of so many clients with one request of n each, and their requests."""
    texts = {key: f"c{key // n}" for key in range(clients * n)}
    return texts, {key: key // n for key in texts}


@pytest.mark.parametrize(("clients", "n"), [(8, 16), (16, 8), (32, 4), (63, 2), (2, 64)])
def test_full_of_paused_texts_there_is_room_for_the_share_of_others(clients: int, n: int) -> None:
    texts, requests = filled(clients, n)
    for key in range(len(texts), BEGUN * 64):  # the rest of the places that may be begun
        texts[key], requests[key] = "c0", 1000 + key
    for k in range(3):
        new, share = f"new{k}", max(1, 64 // (len({*texts.values()}) + 1))
        if may_begin(texts, new, share, 64):
            ended = set()
        else:
            ended = texts_to_end(texts, requests, new, share, 64)
            assert ended
        left = {key: owner for key, owner in texts.items() if key not in ended}
        texts = left | {1000 * (k + 1) + key: new for key in range(share)}
        requests |= {key: 10_000 + k for key, owner in texts.items() if owner == new}
        assert len(texts) <= BEGUN * 64
        if len({*texts.values()}) <= 64:
            mine = {key for key, owner in texts.items() if owner == new}
            assert mine <= running(texts, 64)  # at once


def test_a_request_is_ended_for_a_share_alone_and_only_of_who_has_more() -> None:
    """For any texts: the bound holds, requests end whole, and whoever has its share keeps all."""
    chooser = random.Random(0)
    number_of_ends = 0
    for _ in range(2000):
        places = chooser.randrange(1, 20)
        texts: dict[int, str] = {}
        requests: dict[int, int] = {}
        while len(texts) < BEGUN * places:
            client = chooser.choice("abcdefghijklmnopqrstuvwxyz"[: chooser.randrange(1, 27)])
            first = len(texts)
            for key in range(first, min(first + chooser.randrange(1, 6), BEGUN * places)):
                texts[key], requests[key] = client, first
        client, number = chooser.choice("abcXY"), chooser.randrange(1, 6)
        counts = Counter(texts.values())
        share = max(1, places // len({*counts, client}))
        ended = texts_to_end(texts, requests, client, number, places)
        wants = counts[client] + number
        assert (number <= rest_of_share(texts, client, places)) == (wants <= share)
        if wants > share:
            assert not ended
        elif len({*counts, client}) <= places:
            assert ended  # there is always somebody with more
        if ended:
            number_of_ends += 1
            assert len(texts) - len(ended) + number <= BEGUN * places
            assert {requests[key] for key in ended}.isdisjoint(
                requests[key] for key in texts.keys() - ended
            )
            for victim in {texts[key] for key in ended}:
                assert counts[victim] > share
                assert victim != client
    assert number_of_ends > 200


def test_the_newest_request_of_who_has_most_is_ended() -> None:
    texts = dict(enumerate("aaaabbbb"))
    requests = {0: 0, 1: 0, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 6}
    assert texts_to_end(texts, requests, "c", 1, 4) == {6, 7}
    assert texts_to_end(texts | {7: "a"}, requests | {7: 7}, "c", 1, 4) == {7}
    assert texts_to_end(texts, requests, "c", 2, 4) == set()  # more than a third of four


@pytest.mark.serial
def test_addresses_that_begin_all_that_may_be_begun_keep_no_newcomer_out() -> None:
    with (
        thread_engine(Slow(V, 0.005), VOCABULARY, max_streams=8) as it,
        served(create_app([it]), streams=8) as server,
        ExitStack() as stack,
    ):
        crowd = [stack.enter_context(unread(server.port, f"127.0.0.{k}", n=8)) for k in (2, 3)]
        assert until(lambda: len(it) == 16)
        for k in range(3):
            status, seconds = params(server.port, f"127.0.0.{50 + k}", max_tokens=10)
            assert (status, seconds < 5) == (200, True), seconds
        status, _ = params(server.port, "127.0.0.60", max_tokens=10, n=9)
        assert status == 400  # more than there are places at all
        assert until(lambda: len(it) == 8)
        whole = b""
        crowd[1].settimeout(20)
        while not whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            part = crowd[1].recv(10_000)
            assert part, whole[-500:]
            whole += part
        last = [line for line in whole.split(b"\n") if line.startswith(b'data: {"error"')]
        error = json.loads(last[0].removeprefix(b"data: "))["error"]
        assert len(last) == 1
        assert error == {
            "message": OVERLOADED,
            "type": "server_error",
            "param": None,
            "code": "overloaded",
        }


@contextmanager
def unread(port: int, address: str, **body: object) -> Iterator[socket.socket]:
    """Ask for long texts from an address of this machine, and do not read them."""
    data = json.dumps({"prompt": "ab", "max_tokens": 4000, "stream": True, **body}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(
        ("127.0.0.1", port), timeout=10, source_address=(address, 0)
    ) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        yield connection


def test_a_request_that_is_not_streamed_is_ended_with_503_too() -> None:
    with (
        thread_engine(Slow(V, 0.005), VOCABULARY, max_streams=2) as it,
        served(create_app([it]), streams=2) as server,
        ExitStack() as stack,
    ):
        stack.enter_context(unread(server.port, "127.0.0.2", n=2))
        assert until(lambda: len(it) == 2)
        found: list[int] = []
        long = {"max_tokens": 4000, "n": 2}
        thread = threading.Thread(
            target=lambda: found.append(params(server.port, "127.0.0.3", **long)[0])
        )
        thread.start()
        assert until(lambda: len(it) == 4)
        with pytest.raises(Busy, match="or ask for at most 1 at once"):
            it.submit([LONG] * 2, "c")
        assert params(server.port, "127.0.0.4", max_tokens=5)[0] == 200
        thread.join(timeout=20)
        assert found == [503]


@soak
@pytest.mark.serial
def test_eight_addresses_with_a_request_each_keep_nobody_out() -> None:
    """Again and again, of the default size: newcomers come while the attackers come back."""
    with (
        thread_engine(Slow(V, 0.005), VOCABULARY) as it,
        served(create_app([it])) as server,
    ):
        is_over = threading.Event()

        def attack(address: str) -> None:
            while not is_over.is_set():
                with suppress(OSError), unread(server.port, address, n=16) as connection:
                    connection.settimeout(load(1, 15))
                    while not is_over.is_set() and b"error" not in (
                        connection.recv(10) or b"error"
                    ):
                        is_over.wait(0.1)
                is_over.wait(0.2)

        attackers = [threading.Thread(target=attack, args=(f"127.0.0.{k}",)) for k in range(2, 10)]
        for thread in attackers:
            thread.start()
        assert until(lambda: len(it) >= 112)
        took = []
        for k in range(load(6, 400)):
            status, seconds = params(
                server.port, f"127.0.0.{50 + k % 3}", max_tokens=10, n=1 + k % 3
            )
            assert status == 200
            took.append(seconds)
        is_over.set()
        for thread in attackers:
            thread.join()
        took.sort()
        say(f"beside eight addresses with 128 texts: p50 {took[len(took) // 2]:.2f} s")
        assert took[len(took) // 2] < 3
