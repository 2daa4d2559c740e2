"""What a client is charged: what is drawn for it, whatever it gets of that, and what is read."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch

from carousel.data.vocabulary import Vocabulary
from carousel.generation import torch_runner
from carousel.generation.config import SamplingConfig
from carousel.generation.token_sequence import TokenSequence
from carousel.server.access_log import Record
from carousel.server.active_request import READING, ActiveRequest, Client, ServerContext
from carousel.server.app import create_app
from carousel.server.metrics import Metrics
from carousel.server.rate_limit import RateLimit
from carousel.server.request import Model
from carousel.server.types import Job, Overloaded
from generation.markov import Markov
from server.answers import refused
from server.fake_engine import FakeEngine
from server.running import Slow, thread_engine, until

VOCABULARY = Vocabulary.from_text("\n a.")
V = len(VOCABULARY)
ALL = tuple(VOCABULARY.itos)  # as stop strings: a text ends at its first character
LIMIT = 100_000


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what the engine draws, a number for each step of a batch."""
    numbers: list[int] = []
    draw_all = torch_runner._draw_all

    def counting(sequences: Sequence[TokenSequence], logits: torch.Tensor) -> None:
        before = sum(sequence.num_tokens for sequence in sequences)
        draw_all(sequences, logits)
        numbers.append(sum(sequence.num_tokens for sequence in sequences) - before)

    monkeypatch.setattr(torch_runner, "_draw_all", counting)
    return numbers


class Shop(NamedTuple):
    """A front whose clock stands still, and what it charges."""

    context: ServerContext
    rate_limit: RateLimit

    def begin(self, *jobs: Job) -> ActiveRequest:
        client = Client("c", "c", lambda: False)
        (model,) = self.context.models.values()
        return ActiveRequest(self.context, model, jobs, client, Record("POST", "/"))

    def submit(self, *jobs: Job) -> str:
        work = self.begin(*jobs)
        text = "".join(chunk.text for _, chunk in work.chunks())
        work.close()
        return text

    @property
    def charged(self) -> float:
        return self.rate_limit.characters - self.rate_limit._left("c")


def shop(engine: Any, limit: int = LIMIT) -> Shop:
    models = {"m": Model(engine.model_info, frozenset(VOCABULARY.itos), engine)}
    rate_limit = RateLimit(limit, clock=lambda: 0.0)
    return Shop(ServerContext(models, Metrics(models), rate_limit, 60), rate_limit)


@pytest.fixture(params=[1, 4, 16])
def candidates(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def it() -> Iterator[Shop]:
    with thread_engine(Markov(V), VOCABULARY) as engine:
        yield shop(engine)


def test_what_is_drawn_is_charged_though_a_stop_string_ends_it_at_once(
    it: Shop, drawn: list[int], candidates: int
) -> None:
    sampling = SamplingConfig(candidates=candidates, temperature=1.0)
    assert it.submit(Job(prompt="", length=300, stop=ALL, sampling=sampling)) == ""
    assert it.charged == sum(drawn) >= candidates


def test_a_whole_text_is_charged_with_all_its_candidates(it: Shop, drawn: list[int]) -> None:
    """Those that were longer than the best one too."""
    sampling = SamplingConfig(candidates=8, temperature=1.0)
    text = it.submit(Job(prompt="", length=400, sampling=sampling))
    assert len(text) == 400
    assert it.charged == sum(drawn) > 3200


def test_a_plain_text_is_charged_by_its_characters(it: Shop) -> None:
    it.submit(Job(prompt="", length=123))
    assert it.charged == 123


@pytest.mark.parametrize("candidates", [1, 4])
def test_who_hangs_up_is_charged_what_was_drawn(drawn: list[int], candidates: int) -> None:
    """Also what was drawn since the last piece, which the worker tells when it forgets the text."""
    sampling = SamplingConfig(candidates=candidates, temperature=1.0)
    with thread_engine(Slow(V, 0.002), VOCABULARY) as engine:
        it = shop(engine)
        for _ in range(5):
            steps = len(drawn)
            work = it.begin(Job(prompt="", length=4000, sampling=sampling))
            assert until(lambda steps=steps: len(drawn) > steps + 10)
            work.close()
            assert until(lambda: not engine._aborted)
            assert it.charged == sum(drawn) > 0


def test_who_is_ended_for_another_is_charged_what_was_drawn(drawn: list[int]) -> None:
    """Also what came of one text before the error of another was read."""
    with thread_engine(Slow(V, 0.002), VOCABULARY, max_streams=2) as engine:
        it = shop(engine)
        of_others: list[int] = []
        for _ in range(5):
            steps = len(drawn)
            work = it.begin(*[Job(prompt="", length=4000)] * 2)
            assert until(lambda steps=steps: len(drawn) > steps + 10)
            job = Job(prompt="", length=4000)
            others = [text for client in "bde" for text in engine.submit([job], client)]
            with pytest.raises(Overloaded):  # four may be begun: the fifth ended these two
                list(work.chunks())
            assert len(engine) == 3
            work.close()
            for text in others:
                text.cancel(of_others.append)
            assert until(lambda: not engine._aborted)
            assert it.charged > 0
            assert it.charged + sum(of_others) == sum(drawn)


@pytest.mark.parametrize(
    ("length", "logprobs", "prompt_logprobs", "share"),
    [
        (0, None, False, READING),
        (0, 0, True, 1),
        (0, 0, False, READING),
        (10, None, False, READING),
    ],
)
def test_reading_a_prompt_is_charged_by_its_share(
    it: Shop, length: int, logprobs: int | None, prompt_logprobs: bool, share: float
) -> None:
    prompt = "a " * 200
    job = Job(prompt=prompt, length=length, logprobs=logprobs, prompt_logprobs=prompt_logprobs)
    it.submit(*[job] * 8)
    assert it.charged == math.ceil(8 * share * len(prompt)) + 8 * length


def test_many_prompts_with_nothing_to_write_use_up_the_budget() -> None:
    client = create_app([FakeEngine()], characters_per_minute=30_000).test_client()
    body = {"prompt": ["a" * 3920] * 8, "max_tokens": 0}
    assert client.post("/v1/completions", json=body).status_code == 200  # 25,088
    refused(client.post("/v1/completions", json=body), 429)


def test_no_text_is_for_nothing(it: Shop) -> None:
    it.submit(*[Job(prompt="", length=0)] * 8)
    assert it.charged == 8


def test_a_prompt_within_the_limits_is_served_once_its_debt_is_paid() -> None:
    clock = [0.0]
    rate_limit = RateLimit(100, clock=lambda: clock[0])
    assert rate_limit.take("c", 10, 3200) == 0  # more than a minute's, but the budget is full
    wait = rate_limit.take("c", 10, 3200)
    assert wait == pytest.approx(60 * 3210 / 100)  # all of it is owed
    clock[0] += wait - 1
    assert rate_limit.take("c", 1) == 0
    assert 0 < rate_limit.take("c", 10, 3200) < 2
    clock[0] += 2
    assert rate_limit.take("c", 10, 3200) == 0
    assert rate_limit.take("c", 101, 0) == math.inf  # that is no prompt: a smaller number would do


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/score"])
def test_no_prompt_is_too_long_for_a_small_budget(path: str) -> None:
    client = create_app([FakeEngine()], characters_per_minute=10).test_client()
    text = "a" * 4000
    body = {"text": text} if "score" in path else {"prompt": text, "max_tokens": 5}
    assert client.post(path, json=body).status_code == 200
    response = client.post(path, json={**body})
    assert refused(response, 429)["code"] == "rate_limit_exceeded"
    assert int(response.headers["Retry-After"]) > 3600 * 5


def test_a_text_that_could_not_begin_costs_nothing() -> None:
    engine = FakeEngine(max_texts=1)
    it = shop(engine)
    with pytest.raises(Exception, match="are being written"):
        it.begin(Job(prompt="a" * 50, length=5), Job(prompt="a" * 50, length=5))
    assert it.charged == 0
