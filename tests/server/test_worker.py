"""What a worker does with its orders: the same texts, stop strings and chances as elsewhere."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from carousel.data.vocabulary import Vocabulary
from carousel.errors import CarouselError
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.generate import continue_text
from carousel.generation.torch_runner import CHUNK
from carousel.models.base import LanguageModel
from carousel.server import worker
from carousel.server.protocol import job_from_json, job_to_json, receive, send
from carousel.server.types import Job
from carousel.server.worker import Probe, make_probe, run
from generation.markov import Markov
from generation.saved_model import save_run
from server.running import Slow, until

VOCABULARY = Vocabulary.from_text("\n abcde")
V = len(VOCABULARY)
MODEL = Markov(V)


class Desk(NamedTuple):
    """A worker's inbox, and what it has said so far."""

    inbox: Any
    said: list[dict[str, Any]]

    def submit(self, *jobs: Job) -> None:
        send(self.inbox, {"add": [[k, job_to_json(job)] for k, job in enumerate(jobs)]})

    def rows(self, key: int = 0) -> list[list[Any]]:
        return [row for m in list(self.said) for row in m.get("outputs", []) if row[0] == key]

    def is_over(self, key: int = 0) -> bool:
        return any(row[3] or row[4] for row in self.rows(key))

    def text(self, key: int = 0) -> tuple[str, list[Any], str]:
        """Wait for a text; return it with its chances and why it ended."""
        assert until(lambda: self.is_over(key))
        rows = self.rows(key)
        whole = "".join(row[1] for row in rows)
        return whole, [logprob for row in rows for logprob in row[2]], rows[-1][3] or rows[-1][4]


@contextmanager
def working(
    model: LanguageModel = MODEL, probe: Probe | None = None, engine: Engine | None = None
) -> Iterator[Desk]:
    """Yield the desk of a worker that ends with the block."""
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    said: list[dict[str, Any]] = []

    def work() -> None:
        with os.fdopen(to_read, "rb") as inbox, os.fdopen(from_write, "wb") as outbox:
            probe_ = probe or make_probe(model, 1e-3)
            run(engine or Engine(model), VOCABULARY, probe_, inbox, outbox)

    def listen() -> None:
        with os.fdopen(from_read, "rb") as outbox:
            for message in receive(outbox):
                said.append(message)

    threads = [threading.Thread(target=each) for each in (work, listen)]
    for thread in threads:
        thread.start()
    try:
        with os.fdopen(to_write, "wb") as inbox:
            yield Desk(inbox, said)
    finally:
        for thread in threads:
            thread.join(timeout=10)
            assert not thread.is_alive()


def wanted(job: Job) -> tuple[str, str]:
    """Return what `carousel sample --precision float32` would write."""
    generator = continue_text(
        MODEL,
        VOCABULARY,
        job.prompt,
        job.sampling,
        length=job.length,
        stop=job.stop,
        precision="float32",
    )
    text = ""
    while True:
        try:
            text += next(generator)
        except StopIteration as end:
            return text, end.value


JOBS = [
    Job(prompt="ab", length=60),
    Job(prompt="", length=40, sampling=SamplingConfig(seed=2**64 - 1, temperature=1.0)),
    Job(prompt="c", length=200, stop=("ab", "ea d")),
    Job(prompt="d", length=30, stop=[4 * c for c in VOCABULARY.itos]),  # the end is held back
    Job(prompt="ab", length=1, stop=("a", "b", "c", "d", "e", " ", "\n")),
    Job(prompt="e" * 700, length=3, sampling=SamplingConfig(top_k=2)),
]


def test_a_job_survives_the_wire() -> None:
    odd = Job(prompt="\ud800\x00é😀", length=7, stop=("\n",), logprobs=3, prompt_logprobs=True)
    for job in [*JOBS, odd]:
        there = job_from_json(json.loads(json.dumps(job_to_json(job))))
        assert replace(there, stop=tuple(there.stop)) == replace(job, stop=tuple(job.stop))


def test_texts_are_those_that_are_written_alone() -> None:
    with working() as desk:
        desk.submit(*JOBS)
        for key, job in enumerate(JOBS):
            text, logprobs, finish_reason = desk.text(key)
            assert (text, finish_reason) == wanted(job)
            assert logprobs == []


@pytest.mark.parametrize("stop", [(), ("ab", "ea d", "e"), ("never there",)])
@pytest.mark.parametrize("prompt_logprobs", [False, True])
def test_chances_stand_beside_their_characters(
    stop: tuple[str, ...], prompt_logprobs: bool
) -> None:
    job = Job(prompt="abcab", length=50, stop=stop, logprobs=2, prompt_logprobs=prompt_logprobs)
    with working() as desk:
        desk.submit(job)
        text, logprobs, _ = desk.text()
        assert text == wanted(job)[0]
        held = 0  # never is a character told without its chance, or the other way round
        for _, part, of_part, *_ in desk.rows():
            held += len(of_part) - len(part)
            assert held in ((4,) if prompt_logprobs else (0,))
    whole = job.prompt + text
    logits, _ = MODEL(torch.tensor([VOCABULARY.encode(whole).tolist()]))
    log_p = torch.log_softmax(logits[0].double(), dim=-1)
    first = 1 if prompt_logprobs else len(job.prompt)
    assert len(logprobs) == len(whole) - first
    for place, (own, top) in enumerate(logprobs, start=first):
        row = log_p[place - 1]
        assert own == pytest.approx(float(row[VOCABULARY.stoi[whole[place]]]), abs=1e-5)
        best = row.sort(descending=True).indices[:2].tolist()
        assert [c for c, _ in top] == [VOCABULARY.itos[k] for k in best]


def test_a_prompt_can_be_read_and_no_more() -> None:
    with working() as desk:
        desk.submit(
            Job(prompt="abc", length=0, logprobs=0, prompt_logprobs=True),
            Job(prompt="abc", length=0),
        )
        text, logprobs, finish_reason = desk.text(0)
        assert (text, len(logprobs), finish_reason) == ("", 2, "length")
        assert desk.text(1) == ("", [], "length")


def test_what_cannot_be_written_says_why_and_the_others_go_on() -> None:
    with working() as desk:
        desk.submit(Job(prompt="aé", length=3), Job(prompt="a", length=3))
        assert "'é' (U+00E9) at position 1" in desk.text(0)[2]
        assert desk.text(1)[2] == "length"


def test_weights_that_are_no_numbers_end_a_text_with_an_error() -> None:
    model = Markov(V)
    probe = make_probe(model, 1e-3)
    model.table[:] = torch.nan
    with working(model, probe) as desk:
        desk.submit(Job(prompt="a", length=3))
        assert desk.text()[2].startswith("the model's weights are damaged or diverged: NaN")
        assert "NaN" in str(probed(desk, 1))
    with pytest.raises(CarouselError, match="damaged or diverged"):
        make_probe(model, 1e-3)


def probed(desk: Desk, number: int) -> str | None:
    """Ask for a step of the model; return what is wrong with it."""
    send(desk.inbox, {"probe": number})
    assert until(lambda: any(m.get("probe") == number for m in list(desk.said)))
    return next(m["error"] for m in desk.said if m.get("probe") == number)


def test_a_probe_is_a_step_of_the_model_and_sees_a_weight_that_changed() -> None:
    model = Markov(V)
    with working(model) as desk:
        assert probed(desk, 1) is None
        desk.submit(Job(prompt="a", length=3000))  # beside other work too
        assert probed(desk, 2) is None
        model.table[VOCABULARY.stoi["\n"], 0] += torch.arange(V) * 0.01
        assert "a step of the model gave" in str(probed(desk, 3))


def test_a_probe_may_be_answered_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carousel.server.worker.PROBE_LENGTH", 3 * CHUNK)
    with working(Slow(V, seconds=0.05)) as desk:  # news are told between its pieces
        assert probed(desk, 1) is None
        assert next(iter(desk.said)) == {"outputs": []}


def test_a_text_that_is_left_makes_no_more_work() -> None:
    model = Slow(V, seconds=0.01)
    with working(model) as desk:
        desk.submit(Job(prompt="a", length=4000))
        assert until(lambda: len(desk.rows()) > 0)
        send(desk.inbox, {"abort": 0})
        time.sleep(0.1)
        steps = model.steps
        time.sleep(0.2)
        assert model.steps == steps


def test_a_text_joins_at_the_next_character_of_the_others() -> None:
    model = Slow(V, seconds=0.001)
    with working(model) as desk:
        desk.submit(Job(prompt="a", length=4000))
        assert until(lambda: len(desk.rows()) > 0)
        before = time.monotonic()
        send(desk.inbox, {"add": [[1, job_to_json(Job(prompt="a", length=1))]]})
        assert until(lambda: desk.is_over(1))
        assert time.monotonic() - before < 1
        assert not desk.is_over(0)


def test_the_others_go_on_while_one_ends_and_each_line_has_the_news_of_all() -> None:
    with working(Slow(V, seconds=0.001)) as desk:
        desk.submit(*(Job(prompt="a", length=100) for _ in range(5)))
        assert until(lambda: desk.is_over(4))
        lines = [m["outputs"] for m in desk.said if m["outputs"]]
        assert all([row[0] for row in line] == list(range(5)) for line in lines)
        assert 2 <= len(lines) < 100  # fewer than characters


def test_with_nothing_to_write_it_uses_no_processor() -> None:
    with working() as desk:
        desk.submit(Job(prompt="a", length=3))
        assert desk.text()[2] == "length"
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


def test_it_ends_when_nobody_reads_its_news() -> None:
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    os.close(from_read)
    with (
        os.fdopen(to_read, "rb") as inbox,
        os.fdopen(to_write, "wb") as orders,
        open(from_write, "wb", buffering=0) as outbox,  # noqa: PTH123
    ):
        send(orders, {"add": [[0, job_to_json(Job(prompt="a", length=4000))]]})
        run(Engine(MODEL), VOCABULARY, make_probe(MODEL, 1e-3), inbox, outbox)
        orders.close()


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "carousel.server.worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_the_program_introduces_its_model_writes_and_ends_with_its_orders(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "small")
    with start(str(folder), "--name", "it") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        messages = receive(process.stdout)
        name, characters, longest, opening, created, fingerprint = next(messages)["model"]
        assert re.fullmatch("[0-9a-f]{64}", fingerprint)
        assert (name, characters, longest) == ("it", list("\n abcdeé“"), None)
        assert opening == ""  # it cannot spell what stories begin with
        assert abs(created - time.time()) < 60
        assert next(messages) == {"ready": True}
        send(process.stdin, {"add": [[0, job_to_json(Job(prompt="a", length=3))]]})
        rows = (row for message in messages for row in message["outputs"])
        assert next(row[3] for row in rows if row[3]) == "length"
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_the_program_says_why_it_cannot_load_a_model(tmp_path: Path) -> None:
    with start(str(tmp_path), "--name", "it") as process:
        out, _ = process.communicate(timeout=60)
    (line,) = out.splitlines()
    assert "is no run with a checkpoint" in json.loads(line)["error"]
    assert process.returncode == 1


def test_at_rest_free_memory_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[bool] = []
    monkeypatch.setattr(worker, "REST", 0.3)
    monkeypatch.setattr(worker, "give_back_memory", lambda: times.append(True))
    with working() as desk:

        def is_given_back(number: int) -> bool:
            send(desk.inbox, {"probe": len(desk.said)})  # the front asks once a second
            time.sleep(0.05)
            return len(times) >= number

        for turn in (1, 2):
            desk.submit(replace(JOBS[0], length=30))
            assert until(lambda: desk.is_over())
            desk.said.clear()
            assert until(lambda turn=turn: is_given_back(turn))
            for _ in range(10):
                is_given_back(turn)
            assert len(times) == turn, "a worker at rest has nothing to give back twice"
