"""Who writes from elsewhere: all texts or none, an error for each that is lost, a new worker."""

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from carousel.data.vocabulary import Vocabulary
from carousel.errors import CarouselError, ConfigError
from carousel.server import supervised_worker, worker_connection
from carousel.server.protocol import send
from carousel.server.supervised_worker import SupervisedWorker
from carousel.server.types import Busy, Chunk, Job, TextStream, Unavailable
from generation.markov import Markov
from server.running import Slow, ThreadWorker, at_rest, descriptors, thread_engine, threads, until

VOCABULARY = Vocabulary.from_text("\n abcde")
V = len(VOCABULARY)
LONG = Job(prompt="a", length=4000)


def read_on(text: TextStream) -> None:
    """Read until the text raises."""
    for _ in range(10_000):
        text.next(5)


def read(text: TextStream) -> str:
    """Return a whole text."""
    whole = ""
    for _ in range(10_000):
        chunk = text.next(5)
        assert chunk is not None
        whole += chunk.text
        if chunk.finish_reason:
            return whole
    raise AssertionError("no end")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that takes seconds take tenths."""
    for name in ("TICK", "ASK", "HANG", "STARVED"):
        monkeypatch.setattr(worker_connection, name, getattr(worker_connection, name) / 10)
    monkeypatch.setattr(supervised_worker, "STALE", 0.3)
    monkeypatch.setattr(supervised_worker, "PAUSES", (0.01, 0.1))


def test_the_deadlines_keep_the_promise() -> None:
    """Ready turns red, and texts in flight end, within 5 s of a worker's last breath."""
    assert worker_connection.STALE < 5
    assert worker_connection.ASK + worker_connection.HANG + 2 * worker_connection.TICK <= 5.5
    assert (
        supervised_worker.STALE
        == worker_connection.STALE
        > worker_connection.ASK + 2 * worker_connection.TICK
    )


def test_a_card_and_no_obstacle() -> None:
    with thread_engine(Markov(V), VOCABULARY, name="it") as it:
        assert it.model_info == ("it", VOCABULARY.itos, None, "", 1_700_000_000, "")
        assert it.unavailable_reason() is None
        time.sleep(1.5)  # a probe has been answered
        assert it.unavailable_reason() is None


def test_all_texts_or_none_and_a_place_for_each_that_is_over() -> None:
    with thread_engine(Slow(V, 0.002), VOCABULARY, max_streams=3) as it:
        two = it.submit([LONG, LONG])
        with pytest.raises(Busy, match="2 texts are being written; try again"):
            it.submit([LONG, LONG])
        (short,) = it.submit([Job(prompt="a", length=5)])
        with pytest.raises(Busy):
            it.submit([LONG])
        assert len(read(short)) == 5
        it.submit([LONG])
        two[0].cancel()
        two[0].cancel()
        it.submit([LONG])
        with pytest.raises(Busy):
            it.submit([LONG])
        with pytest.raises(ConfigError, match="4 texts are too many: 3 are written"):
            it.submit([LONG] * 4)


def test_nobody_who_was_refused_is_written_for() -> None:
    model = Slow(V, 0.001)
    with thread_engine(model, VOCABULARY, max_streams=1) as it:
        (text,) = it.submit([Job(prompt="a", length=50)])
        for _ in range(100):
            with pytest.raises(Busy):
                it.submit([LONG])
        read(text)
        steps = model.steps
        time.sleep(0.1)
        assert model.steps <= steps + 1
        assert len(it) == 0


def test_no_piece_in_time_is_none() -> None:
    with thread_engine(Slow(V, 0.2), VOCABULARY) as it:
        (text,) = it.submit([LONG])
        before = time.monotonic()
        assert text.next(0.05) is None
        assert time.monotonic() - before < 0.15
        assert text.next(-1) is None


def test_a_text_that_cannot_be_written_raises_its_reason() -> None:
    with thread_engine(Markov(V), VOCABULARY) as it:
        (text,) = it.submit([Job(prompt="é", length=3)])
        with pytest.raises(CarouselError, match=r"'é' \(U\+00E9\)"):
            text.next(5)
        assert len(it) == 0


def test_a_dead_worker_is_replaced_and_its_texts_raise(hasty: None) -> None:
    with thread_engine(Slow(V, 0.002), VOCABULARY) as it:
        texts = it.submit([LONG, LONG])
        worker = it.worker
        assert worker is not None
        worker.kill()
        for text in texts:
            with pytest.raises(Unavailable, match=r"its worker ended: .* a new worker is on its"):
                read_on(text)
        assert until(lambda: it.unavailable_reason() is None)
        assert it.worker is not worker
        (text,) = it.submit([Job(prompt="a", length=5)])
        assert len(read(text)) == 5
        for text in texts:
            text.cancel()


class Gated(Markov):
    """A model whose steps wait for a gate."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.gate = threading.Event()
        self.gate.set()

    def forward(self, tokens, state=None):
        assert self.gate.wait(timeout=20)
        return super().forward(tokens, state)


def test_a_worker_that_hangs_is_replaced_whether_it_has_work_or_not(hasty: None) -> None:
    models = [Gated(V), Gated(V), Gated(V)]
    number = count()
    it = SupervisedWorker(lambda: ThreadWorker(models[next(number)], VOCABULARY))
    try:
        it.wait()
        (text,) = it.submit([LONG])
        models[0].gate.clear()
        with pytest.raises(Unavailable, match="has not answered for"):
            read_on(text)
        models[0].gate.set()
        assert until(lambda: it.unavailable_reason() is None)
        models[1].gate.clear()  # idle, but for its probes
        assert until(lambda: it.unavailable_reason() is not None, seconds=1)
        with pytest.raises(Unavailable, match="a new one is on its way"):
            until(lambda: not it.submit([LONG]), seconds=3)
        models[1].gate.set()
        assert until(lambda: it.unavailable_reason() is None)
        assert next(number) == 3
    finally:
        for model in models:
            model.gate.set()
        it.close()


def test_a_worker_at_hard_work_is_not_taken_for_one_that_hangs(hasty: None) -> None:
    """Steps of 0.05 s: a probe takes longer here than the silence that is allowed, 0.4 s."""
    workers = count()

    def start() -> ThreadWorker:
        next(workers)
        return ThreadWorker(Slow(V, 0.05), VOCABULARY)

    it = SupervisedWorker(start)
    try:
        it.wait()
        text = it.submit([Job(prompt="a" * 200, length=40) for _ in range(4)])[3]
        assert len(read(text)) == 40
        assert next(workers) == 1
    finally:
        it.close()


def test_a_wrong_answer_of_the_model_ends_its_worker(hasty: None) -> None:
    models = [Markov(V), Markov(V)]
    number = count()
    it = SupervisedWorker(lambda: ThreadWorker(models[next(number)], VOCABULARY))
    try:
        it.wait()
        worker = it.worker
        models[0].table += models[0].table
        assert until(lambda: it.worker not in (worker, None) and it.unavailable_reason() is None)
    finally:
        it.close()


class Babbling(ThreadWorker):
    """A worker that says what is no message, once it is ready."""

    def _run(self) -> None:
        with self._theirs, self._theirs.makefile("wb", buffering=0) as outbox:
            send(outbox, {"model": ["it", VOCABULARY.itos, None, "", 0]})
            send(outbox, {"ready": True})
            time.sleep(0.2)
            outbox.write(b"Compiling...\n")
            outbox.flush()
            self._theirs.recv(1)


def test_a_worker_that_makes_no_sense_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        supervised_worker, "PAUSES", (0.01, 0.1)
    )  # not hasty: it must not pass for hanging
    workers: Iterator = iter([Babbling, ThreadWorker])
    it = SupervisedWorker(lambda: next(workers)(Markov(V), VOCABULARY, "it"))
    try:
        it.wait()
        assert until(
            lambda: any("sent an invalid message" in each.message for each in caplog.records)
        )
        assert until(
            lambda: it.unavailable_reason() is None and isinstance(it.worker, ThreadWorker)
        )
        assert not isinstance(it.worker, Babbling)
    finally:
        it.close()


def test_a_new_worker_with_another_model_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another vocabulary, or of the same; until the first model is there again."""
    monkeypatch.setattr(supervised_worker, "PAUSES", (0.01, 0.05))
    caplog.set_level("INFO", "carousel.server")
    other = Vocabulary.from_text("\n abcxy")
    current, prints = [VOCABULARY], ["one"]
    starts: list[str] = []

    def start() -> ThreadWorker:
        starts.append(prints[0])
        return ThreadWorker(Markov(V), current[0], fingerprint=prints[0])

    assert len(other) == V
    it = SupervisedWorker(start)
    try:
        it.wait()
        model_info = it.model_info
        for vocabulary, fingerprint in ((other, "one"), (VOCABULARY, "two")):
            current[0], prints[0] = vocabulary, fingerprint
            before = len(starts)
            caplog.clear()
            assert it.worker is not None
            it.worker.kill()
            assert until(lambda before=before: len(starts) > before + 5)
            assert it.unavailable_reason() == supervised_worker.OTHER_MODEL
            with pytest.raises(Unavailable, match=r"^its folder now holds another model"):
                it.submit([LONG])
            assert it.model_info == model_info
            lines = [record.message for record in caplog.records]
            assert [supervised_worker.OTHER_MODEL in line for line in lines].count(True) == 1
            assert len(lines) == 2  # that a worker ended, and why no other one writes
            current[0], prints[0] = VOCABULARY, "one"
            assert until(lambda: it.unavailable_reason() is None)
            assert len(read(it.submit([Job(prompt="d", length=5)])[0])) == 5
    finally:
        it.close()


class Failing(ThreadWorker):
    """A worker that cannot load its model."""

    def _run(self) -> None:
        with self._theirs, self._theirs.makefile("wb", buffering=0) as outbox:
            send(outbox, {"error": "no such run"})


def test_a_first_worker_that_fails_is_an_error_and_no_other_is_tried() -> None:
    workers: Iterator = iter([Failing])
    it = SupervisedWorker(lambda: next(workers)(Markov(V), VOCABULARY))
    with pytest.raises(CarouselError, match=r"^no such run$"):
        it.wait()
    assert it.unavailable_reason() is not None
    with pytest.raises(Unavailable):
        it.submit([LONG])
    it.close()


def test_closing_ends_texts_and_what_comes_after_is_refused() -> None:
    with thread_engine(Slow(V, 0.002), VOCABULARY) as it:
        (text,) = it.submit([LONG])
        it.close()
        with pytest.raises(Unavailable, match=r"^the server is stopping: the text ends here$"):
            read_on(text)
        with pytest.raises(Unavailable, match=r"^the server is stopping$"):
            it.submit([LONG])
        assert it.unavailable_reason() == "the server is stopping"


def test_twenty_workers_later_no_thread_and_no_descriptor_is_left(hasty: None) -> None:
    with thread_engine(Markov(V), VOCABULARY) as it:
        read(it.submit([Job(prompt="a", length=1)])[0])  # all its threads are there
        before = at_rest()
        for _ in range(20):
            texts = it.submit([LONG, LONG])
            worker = it.worker
            assert worker is not None
            worker.kill()
            for text in texts:
                with pytest.raises(Unavailable):
                    read_on(text)
            assert until(lambda worker=worker: it.worker not in (worker, None))
        assert until(lambda: (descriptors(), threads()) == before)


def test_pieces_of_many_texts_reach_their_own(hasty: None) -> None:
    """32 texts of their own seeds, read by threads, give what each gives alone."""
    jobs = [Job(prompt="abcde"[k % 5], length=30 + k, sample=k) for k in range(32)]
    with thread_engine(Markov(V), VOCABULARY) as it:
        alone = [read(it.submit([job])[0]) for job in jobs]
        texts = it.submit(jobs)
        got: dict[int, str] = {}

        def reader(k: int) -> None:
            got[k] = read(texts[k])

        readers = [threading.Thread(target=reader, args=(k,)) for k in range(32)]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()
        assert [got[k] for k in range(32)] == alone
        assert len(set(alone)) == 32


def test_pieces_are_named_tuples_of_the_contract() -> None:
    with thread_engine(Markov(V), VOCABULARY) as it:
        (text,) = it.submit([Job(prompt="a", length=2, logprobs=1)])
        chunk = text.next(5)
        assert isinstance(chunk, Chunk)
        assert chunk.logprobs[0].top[0][0] in VOCABULARY.itos
        text.cancel()
