"""The worker: a process that holds one model and writes for the front (protocol.py).

`python -m carousel.server.worker RUN` reads its orders from stdin and answers on stdout; it ends
when stdin does, so that it never outlives the front, however that one ended.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, NamedTuple

import torch

from carousel.data.default_prompt import opening_of
from carousel.data.vocabulary import Vocabulary
from carousel.errors import CarouselError
from carousel.generation.engine import PRODUCTS, Engine
from carousel.generation.request import Chance, News, Task
from carousel.machine import available_processors
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import MANIFEST, load_model
from carousel.ops.sampling import log_probabilities
from carousel.server.model_fingerprint import fingerprint_of
from carousel.server.protocol import LEFT, Message, job_from_json, receive, send
from carousel.server.threads import give_back_memory
from carousel.server.types import Card
from carousel.server.worker_text import WorkerText

# Seconds between two lines of news: for each text that is written, at least and at most. Each line
# wakes a thread of the front for every text, on the processors that also write them.
PAUSE, LEAST_PAUSE, MOST_PAUSE = 0.001, 0.03, 0.25
PROBE = "probe"  # the key of the probe's text; those of other texts are numbers
PROBE_LENGTH = 16  # ids that it reads
REST = 5.0  # seconds without a text after which free memory is given back to the system
GRACE = 5.0  # seconds for an advance to notice that the front is gone
# How far the engine's log p may be from the model's own, in nats: sums in another order, or
# products of bf16, whose 8 bits leave a logit of 10 an error of 0.04.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.25}


class Probe(NamedTuple):
    """A task, and the log p of its ids by the model's own forward."""

    task: Task
    log_p: list[float]
    tolerance: float

    def error(self, chances: Iterable[Chance], error: str | None) -> str | None:
        """Say what is wrong with an answer; None if nothing is."""
        if error:
            return error
        found = [chance.log_p for chance in chances]
        pairs = zip(found, self.log_p, strict=False)
        is_near = all(p == q or abs(p - q) <= self.tolerance for p, q in pairs)
        if is_near and len(found) == len(self.log_p):
            return None
        return f"a step of the model gave {found}, not {self.log_p}"


@torch.inference_mode()
def make_probe(model: LanguageModel, tolerance: float) -> Probe:
    """Compute a step with the model's own forward, to compare later ones of the engine with.

    Raises:
        CarouselError: If the answer is no number.
    """
    length = min(PROBE_LENGTH, model.longest_stream or PROBE_LENGTH)
    ids = torch.tensor([7 * t % model.vocab_size for t in range(length)])
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    logits, _ = model(ids[None].to(device))
    try:
        log_p = log_probabilities(logits[0, :-1].cpu())
    except ValueError as error:
        raise CarouselError(f"the model's weights are damaged or diverged: {error}") from None
    answer = log_p.gather(1, ids[1:, None])[:, 0].tolist()
    return Probe(Task(prompt=ids.tolist(), length=0, alternatives=0), answer, tolerance)


def run(
    engine: Engine, vocabulary: Vocabulary, probe: Probe, inbox: BinaryIO, outbox: BinaryIO
) -> None:
    """Write what is asked for until the inbox ends, or nobody reads the outbox.

    With nothing to write it waits without work. A message interrupts the engine, so that texts
    join and leave at the next character; what is written is told from time to time.
    """
    messages: SimpleQueue[Message | None] = SimpleQueue()

    def listen() -> None:
        try:
            for message in receive(inbox):
                messages.put(message)
                engine.interrupt()
        finally:
            messages.put(None)
            engine.interrupt()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    texts: dict[int, WorkerText] = {}
    probes: dict[int, list[Chance]] = {}  # the one that is open, and what has come of it
    due = 0.0  # when news are told next
    last_text, has_free_memory = time.monotonic(), True  # what loading took is free by now
    with contextlib.suppress(BrokenPipeError):  # the front is gone
        while True:
            for message in _new(messages, is_idle=engine.is_idle):
                if message is None:
                    listener.join()  # a thread in torch's code must not see the interpreter's end
                    return
                refused = _obey(message, engine, vocabulary, probe, texts, probes)
                if "join" in message:  # a first character is waited for
                    due = min(due, time.monotonic() + PAUSE * len(texts))
                if refused:
                    send(outbox, {"news": refused})
            if texts:
                last_text, has_free_memory = time.monotonic(), True
            elif has_free_memory and time.monotonic() - last_text > REST:
                give_back_memory()
                has_free_memory = False
            if engine.is_idle:
                continue
            has_more = engine.write(max(0.0, due - time.monotonic()))
            if has_more and time.monotonic() < due:
                continue
            due = time.monotonic() + min(max(LEAST_PAUSE, PAUSE * len(texts)), MOST_PAUSE)
            news = engine.news()
            for each in news:
                if each.key == PROBE:
                    ((number, chances),) = probes.items()
                    chances += each.chances
                    if each.is_over:
                        send(outbox, {"probe": number, "error": probe.error(chances, each.error)})
            # A line even if there is nothing to say: it shows that the worker is at work.
            send(outbox, {"news": _news(news, engine, texts)})


def _new(messages: SimpleQueue[Message | None], *, is_idle: bool) -> Iterator[Message | None]:
    """Yield the messages that have come; if idle, wait for the first."""
    if is_idle:
        yield messages.get()
    with contextlib.suppress(Empty):
        while True:
            yield messages.get_nowait()


def _obey(
    message: Message,
    engine: Engine,
    vocabulary: Vocabulary,
    probe: Probe,
    texts: dict[int, WorkerText],
    probes: dict[int, list[Chance]],
) -> list[list[Any]]:
    """Do what a message says, and return the news of texts that left, or cannot be written."""
    match message:
        case {"join": jobs}:
            return [row for key, job in jobs for row in _join(key, job, engine, vocabulary, texts)]
        case {"leave": key}:
            texts.pop(key, None)
            return [[key, "", [], LEFT, None, engine.leave(key)]]
        case {"pause": paused, "resume": resumed}:
            for key in paused:
                engine.pause(key)
            for key in resumed:
                engine.resume(key)
        case {"probe": number}:
            engine.leave(PROBE)
            probes.clear()
            probes[number] = []
            engine.join(PROBE, probe.task)
        case _:
            raise ValueError(f"no such message: {list(message)}")
    return []


def _join(
    key: int,
    fields: Message,
    engine: Engine,
    vocabulary: Vocabulary,
    texts: dict[int, WorkerText],
) -> list[list[Any]]:
    try:
        job = job_from_json(fields)
        text = WorkerText(job, vocabulary)
        engine.join(key, text.task)
    except CarouselError as error:
        return [[key, "", [], None, str(error), 0]]
    texts[key] = text
    return []


def _news(news: list[News], engine: Engine, texts: dict[int, WorkerText]) -> list[list[Any]]:
    """Turn the news of the engine into those of the front, and end the texts that are over."""
    rows = []
    for each in news:
        if isinstance(each.key, int) and (text := texts.get(each.key)):
            row = text.read(each)
            if row[2] is not None or row[3] is not None:
                engine.leave(each.key)
                del texts[each.key]
            if any(row):
                rows.append([each.key, *row])
    return rows


def main(arguments: list[str]) -> int:
    """Load a model, introduce it, write until stdin ends; return the exit code."""
    # A terminal and a service manager signal all processes at once. The front then lets texts end
    # before it closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asked = _parse(arguments)
    threading.Thread(target=_end_with_the_front, daemon=True).start()
    # Nothing but messages may reach stdout; what else is printed, by a compiler say, is for stderr.
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(2, available_processors()))
    try:
        engine, vocabulary, probe = _prepare(asked, outbox)
    except (CarouselError, OSError) as error:
        with contextlib.suppress(BrokenPipeError):
            send(outbox, {"error": " ".join(str(error).split())})
        return 1
    run(engine, vocabulary, probe, inbox, outbox)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m carousel.server.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--precision", choices=PRODUCTS, default="float32")
    return parser.parse_args(arguments)


def _prepare(asked: argparse.Namespace, outbox: BinaryIO) -> tuple[Engine, Vocabulary, Probe]:
    """Load the model, and say when it is known and when it can write."""
    model, vocabulary, config, folder = load_model(asked.run)
    product = PRODUCTS[asked.precision]
    created = int((folder / MANIFEST).stat().st_mtime)
    words = opening_of(config, vocabulary)
    fingerprint = fingerprint_of(model, config["model"])
    card = Card(asked.name, vocabulary.itos, model.longest_stream, words, created, fingerprint)
    send(outbox, {"card": card})
    probe = make_probe(model, TOLERANCES[product])
    engine = Engine(model, product=product)
    send(outbox, {"ready": True})
    return engine, vocabulary, probe


def _end_with_the_front() -> None:
    """End the process a while after the front, should it be held up in loading or computing."""
    if hasattr(select, "poll"):  # Windows has none: there it ends when it has done its step
        front = select.poll()
        front.register(0, 0)  # a hang-up alone
        front.poll()
        time.sleep(GRACE)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
