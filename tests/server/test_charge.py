"""What a client is charged: what is drawn for it, whatever it gets of that, and what is read."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch

from carousel.data.vocabulary import Vocabulary
from carousel.generation import torch_runner
from carousel.generation.config import SamplingConfig
from carousel.generation.request import Draft
from carousel.server.access_log import Record
from carousel.server.active_request import READING, Client, Front, Work
from carousel.server.app import create_app
from carousel.server.metrics import Meters
from carousel.server.rate_limit import Budget
from carousel.server.request import Model
from carousel.server.types import Job, Overloaded
from generation.markov import Markov
from server.answers import refused
from server.fake_writer import FakeWriter
from server.running import Slow, thread_writer, until

VOCABULARY = Vocabulary.from_text("\n a.")
V = len(VOCABULARY)
ALL = tuple(VOCABULARY.itos)  # as stop strings: a text ends at its first character
LIMIT = 100_000


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what the engine draws, a number for each step of a batch."""
    numbers: list[int] = []
    go_on = torch_runner._go_on

    def counting(drafts: Sequence[Draft], logits: torch.Tensor) -> None:
        before = sum(int(draft.place[1]) for draft in drafts)
        go_on(drafts, logits)
        numbers.append(sum(int(draft.place[1]) for draft in drafts) - before)

    monkeypatch.setattr(torch_runner, "_go_on", counting)
    return numbers


class Shop(NamedTuple):
    """A front whose clock stands still, and what it charges."""

    front: Front
    budget: Budget

    def begin(self, *jobs: Job) -> Work:
        client = Client("c", "c", lambda: False)
        (model,) = self.front.models.values()
        return Work(self.front, model, jobs, client, Record("POST", "/"))

    def write(self, *jobs: Job) -> str:
        work = self.begin(*jobs)
        text = "".join(piece.text for _, piece in work.pieces())
        work.close()
        return text

    @property
    def charged(self) -> float:
        return self.budget.characters - self.budget._left("c")


def shop(writer: Any, limit: int = LIMIT) -> Shop:
    models = {"m": Model(writer.card, frozenset(VOCABULARY.itos), writer)}
    budget = Budget(limit, clock=lambda: 0.0)
    return Shop(Front(models, Meters(models), budget, 60), budget)


@pytest.fixture(params=[1, 4, 16])
def candidates(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def it() -> Iterator[Shop]:
    with thread_writer(Markov(V), VOCABULARY) as writer:
        yield shop(writer)


def test_what_is_drawn_is_charged_though_a_stop_string_ends_it_at_once(
    it: Shop, drawn: list[int], candidates: int
) -> None:
    sampling = SamplingConfig(candidates=candidates, temperature=1.0)
    assert it.write(Job(prompt="", length=300, stop=ALL, sampling=sampling)) == ""
    assert it.charged == sum(drawn) >= candidates


def test_a_whole_text_is_charged_with_all_its_candidates(it: Shop, drawn: list[int]) -> None:
    """Those that were longer than the best one too."""
    sampling = SamplingConfig(candidates=8, temperature=1.0)
    text = it.write(Job(prompt="", length=400, sampling=sampling))
    assert len(text) == 400
    assert it.charged == sum(drawn) > 3200


def test_a_plain_text_is_charged_by_its_characters(it: Shop) -> None:
    it.write(Job(prompt="", length=123))
    assert it.charged == 123


@pytest.mark.parametrize("candidates", [1, 4])
def test_who_hangs_up_is_charged_what_was_drawn(drawn: list[int], candidates: int) -> None:
    """Also what was drawn since the last piece, which the worker tells when it forgets the text."""
    sampling = SamplingConfig(candidates=candidates, temperature=1.0)
    with thread_writer(Slow(V, 0.002), VOCABULARY) as writer:
        it = shop(writer)
        for _ in range(5):
            steps = len(drawn)
            work = it.begin(Job(prompt="", length=4000, sampling=sampling))
            assert until(lambda steps=steps: len(drawn) > steps + 10)
            work.close()
            assert until(lambda: not writer._leaving)
            assert it.charged == sum(drawn) > 0


def test_who_is_ended_for_another_is_charged_what_was_drawn(drawn: list[int]) -> None:
    """Also what came of one text before the error of another was read."""
    with thread_writer(Slow(V, 0.002), VOCABULARY, max_streams=2) as writer:
        it = shop(writer)
        of_others: list[int] = []
        for _ in range(5):
            steps = len(drawn)
            work = it.begin(*[Job(prompt="", length=4000)] * 2)
            assert until(lambda steps=steps: len(drawn) > steps + 10)
            job = Job(prompt="", length=4000)
            others = [text for client in "bde" for text in writer.write([job], client)]
            with pytest.raises(Overloaded):  # four may be begun: the fifth ended these two
                list(work.pieces())
            assert len(writer) == 3
            work.close()
            for text in others:
                text.cancel(of_others.append)
            assert until(lambda: not writer._leaving)
            assert it.charged > 0
            assert it.charged + sum(of_others) == sum(drawn)


@pytest.mark.parametrize(
    ("length", "alternatives", "is_scored", "share"),
    [
        (0, None, False, READING),
        (0, 0, True, 1),
        (0, 0, False, READING),
        (10, None, False, READING),
    ],
)
def test_reading_a_prompt_is_charged_by_its_share(
    it: Shop, length: int, alternatives: int | None, is_scored: bool, share: float
) -> None:
    prompt = "a " * 200
    job = Job(prompt=prompt, length=length, alternatives=alternatives, is_scored=is_scored)
    it.write(*[job] * 8)
    assert it.charged == math.ceil(8 * share * len(prompt)) + 8 * length


def test_many_prompts_with_nothing_to_write_use_up_the_budget() -> None:
    client = create_app([FakeWriter()], characters_per_minute=30_000).test_client()
    body = {"prompt": ["a" * 3920] * 8, "max_tokens": 0}
    assert client.post("/v1/completions", json=body).status_code == 200  # 25,088
    refused(client.post("/v1/completions", json=body), 429)


def test_no_text_is_for_nothing(it: Shop) -> None:
    it.write(*[Job(prompt="", length=0)] * 8)
    assert it.charged == 8


def test_a_prompt_within_the_limits_is_served_once_its_debt_is_paid() -> None:
    clock = [0.0]
    budget = Budget(100, clock=lambda: clock[0])
    assert budget.take("c", 10, 3200) == 0  # more than a minute's, but the budget is full
    wait = budget.take("c", 10, 3200)
    assert wait == pytest.approx(60 * 3210 / 100)  # all of it is owed
    clock[0] += wait - 1
    assert budget.take("c", 1) == 0
    assert 0 < budget.take("c", 10, 3200) < 2
    clock[0] += 2
    assert budget.take("c", 10, 3200) == 0
    assert budget.take("c", 101, 0) == math.inf  # that is no prompt: a smaller number would do


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/score"])
def test_no_prompt_is_too_long_for_a_small_budget(path: str) -> None:
    client = create_app([FakeWriter()], characters_per_minute=10).test_client()
    text = "a" * 4000
    body = {"text": text} if "score" in path else {"prompt": text, "max_tokens": 5}
    assert client.post(path, json=body).status_code == 200
    response = client.post(path, json={**body})
    assert refused(response, 429)["code"] == "rate_limit_exceeded"
    assert int(response.headers["Retry-After"]) > 3600 * 5


def test_a_text_that_could_not_begin_costs_nothing() -> None:
    writer = FakeWriter(max_texts=1)
    it = shop(writer)
    with pytest.raises(Exception, match="are being written"):
        it.begin(Job(prompt="a" * 50, length=5), Job(prompt="a" * 50, length=5))
    assert it.charged == 0
