"""The worker: a process that holds one model and generates for the web app (protocol.py).

`python -m carousel.server.worker RUN` reads messages from stdin and answers on stdout; it ends
when stdin does, so that it never outlives the web app, however that ended.
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
from carousel.generation.engine import COMPUTE_DTYPES, Engine
from carousel.generation.request import Output, Request, TokenLogprob
from carousel.machine import available_processors
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import MANIFEST, load_model
from carousel.ops.sampling import log_probabilities
from carousel.server.model_fingerprint import fingerprint_of
from carousel.server.output_processor import OutputProcessor
from carousel.server.protocol import ABORTED, Message, job_from_json, receive, send
from carousel.server.threads import give_back_memory
from carousel.server.types import ModelInfo

# Seconds between two lines of outputs: for each active text, at least and at most. Each line wakes
# a thread of the web app for every text, on the processors that also run the model.
PAUSE, LEAST_PAUSE, MOST_PAUSE = 0.001, 0.03, 0.25
PROBE = "probe"  # the engine's key of the probe; those of texts are numbers
PROBE_LENGTH = 16  # ids that the probe reads
REST = 5.0  # seconds without a text after which free memory is given back to the system
GRACE = 5.0  # seconds for the engine to notice that the web app is gone
# How far the engine's log p may be from the model's own, in nats: sums in another order, or
# products of bf16, whose 8 bits leave a logit of 10 an error of 0.04.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.25}


class Probe(NamedTuple):
    """A request, and the log-probabilities of its ids by the model's own forward."""

    request: Request
    log_p: list[float]
    tolerance: float

    def error(self, logprobs: Iterable[TokenLogprob], error: str | None) -> str | None:
        """Return what is wrong with an answer; None if nothing is."""
        if error:
            return error
        found = [logprob.log_p for logprob in logprobs]
        pairs = zip(found, self.log_p, strict=False)
        is_near = all(p == q or abs(p - q) <= self.tolerance for p, q in pairs)
        if is_near and len(found) == len(self.log_p):
            return None
        return f"a step of the model gave {found}, not {self.log_p}"


@torch.inference_mode()
def make_probe(model: LanguageModel, tolerance: float) -> Probe:
    """Compute a step by the model's own forward, against which the engine's steps are checked.

    Raises:
        CarouselError: If the answer is not finite.
    """
    length = min(PROBE_LENGTH, model.max_length or PROBE_LENGTH)
    ids = torch.tensor([7 * t % model.vocab_size for t in range(length)])
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    logits, _ = model(ids[None].to(device))
    try:
        log_p = log_probabilities(logits[0, :-1].cpu())
    except ValueError as error:
        raise CarouselError(f"the model's weights are damaged or diverged: {error}") from None
    answer = log_p.gather(1, ids[1:, None])[:, 0].tolist()
    return Probe(Request(prompt=ids.tolist(), length=0, logprobs=0), answer, tolerance)


def run(
    engine: Engine, vocabulary: Vocabulary, probe: Probe, inbox: BinaryIO, outbox: BinaryIO
) -> None:
    """Generate what is requested until the inbox ends, or the outbox is closed.

    It waits without work when there is nothing to generate. A message interrupts the engine, so
    that texts are added and aborted at the next character; outputs are sent from time to time.
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
    texts: dict[int, OutputProcessor] = {}
    probes: dict[int, list[TokenLogprob]] = {}  # the open one, and its output so far
    due = 0.0  # when outputs are sent next
    last_text, has_free_memory = time.monotonic(), True  # what loading took is free by now
    with contextlib.suppress(BrokenPipeError):  # the web app is gone
        while True:
            for message in _new(messages, is_idle=engine.is_idle):
                if message is None:
                    listener.join()  # a thread in torch's code must not see the interpreter's end
                    return
                rows = _handle(message, engine, vocabulary, probe, texts, probes)
                if "add" in message:  # a client waits for the first character
                    due = min(due, time.monotonic() + PAUSE * len(texts))
                if rows:
                    send(outbox, {"outputs": rows})
            if texts:
                last_text, has_free_memory = time.monotonic(), True
            elif has_free_memory and time.monotonic() - last_text > REST:
                give_back_memory()
                has_free_memory = False
            if engine.is_idle:
                continue
            has_more = engine.run(max(0.0, due - time.monotonic()))
            if has_more and time.monotonic() < due:
                continue
            due = time.monotonic() + min(max(LEAST_PAUSE, PAUSE * len(texts)), MOST_PAUSE)
            outputs = engine.outputs()
            for output in outputs:
                if output.key == PROBE:
                    ((number, logprobs),) = probes.items()
                    logprobs += output.logprobs
                    if output.is_finished:
                        error = probe.error(logprobs, output.error)
                        send(outbox, {"probe": number, "error": error})
            # A line even if it is empty: it shows that the worker is alive.
            send(outbox, {"outputs": _rows(outputs, engine, texts)})


def _new(messages: SimpleQueue[Message | None], *, is_idle: bool) -> Iterator[Message | None]:
    """Yield the messages that have arrived; if idle, wait for the first."""
    if is_idle:
        yield messages.get()
    with contextlib.suppress(Empty):
        while True:
            yield messages.get_nowait()


def _handle(
    message: Message,
    engine: Engine,
    vocabulary: Vocabulary,
    probe: Probe,
    texts: dict[int, OutputProcessor],
    probes: dict[int, list[TokenLogprob]],
) -> list[list[Any]]:
    """Do what a message says; return output rows of texts that it aborts or that are invalid."""
    match message:
        case {"add": jobs}:
            return [row for key, job in jobs for row in _add(key, job, engine, vocabulary, texts)]
        case {"abort": key}:
            texts.pop(key, None)
            return [[key, "", [], ABORTED, None, engine.abort(key)]]
        case {"pause": paused, "resume": resumed}:
            for key in paused:
                engine.pause(key)
            for key in resumed:
                engine.resume(key)
        case {"probe": number}:
            engine.abort(PROBE)
            probes.clear()
            probes[number] = []
            engine.add(PROBE, probe.request)
        case _:
            raise ValueError(f"no such message: {list(message)}")
    return []


def _add(
    key: int,
    fields: Message,
    engine: Engine,
    vocabulary: Vocabulary,
    texts: dict[int, OutputProcessor],
) -> list[list[Any]]:
    try:
        text = OutputProcessor(job_from_json(fields), vocabulary)
        engine.add(key, text.request)
    except CarouselError as error:
        return [[key, "", [], None, str(error), 0]]
    texts[key] = text
    return []


def _rows(
    outputs: list[Output], engine: Engine, texts: dict[int, OutputProcessor]
) -> list[list[Any]]:
    """Return the outputs as rows of a message, and drop the texts that are finished."""
    rows = []
    for output in outputs:
        if isinstance(output.key, int) and (text := texts.get(output.key)):
            row = text.process(output)
            if row[2] is not None or row[3] is not None:
                engine.abort(output.key)
                del texts[output.key]
            if any(row):
                rows.append([output.key, *row])
    return rows


def main(arguments: list[str]) -> int:
    """Load a model, describe it, generate until stdin ends; return the exit code."""
    # A terminal and a service manager signal all processes at once. The web app then lets texts end
    # before it closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    options = _parse(arguments)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Nothing but messages may reach stdout; what else is printed, by a compiler say, is for stderr.
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(2, available_processors()))
    try:
        engine, vocabulary, probe = _prepare(options, outbox)
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
    parser.add_argument("--precision", choices=COMPUTE_DTYPES, default="float32")
    return parser.parse_args(arguments)


def _prepare(options: argparse.Namespace, outbox: BinaryIO) -> tuple[Engine, Vocabulary, Probe]:
    """Load the model, and report when it is known and when it is ready."""
    model, vocabulary, config, folder = load_model(options.run)
    compute_dtype = COMPUTE_DTYPES[options.precision]
    created = int((folder / MANIFEST).stat().st_mtime)
    words = opening_of(config, vocabulary)
    fingerprint = fingerprint_of(model, config["model"])
    info = ModelInfo(options.name, vocabulary.itos, model.max_length, words, created, fingerprint)
    send(outbox, {"model": info})
    probe = make_probe(model, TOLERANCES[compute_dtype])
    engine = Engine(model, compute_dtype=compute_dtype)
    send(outbox, {"ready": True})
    return engine, vocabulary, probe


def _exit_with_parent() -> None:
    """End the process soon after the web app, also while it loads or computes."""
    if hasattr(select, "poll"):  # Windows has none: there it ends when it has done its step
        stdin = select.poll()
        stdin.register(0, 0)  # reports a hang-up only
        stdin.poll()
        time.sleep(GRACE)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
