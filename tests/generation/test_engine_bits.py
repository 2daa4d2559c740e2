"""What a text becomes does not depend, to the last bit, on who else is written, when, or how."""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets import amount, torture
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.request import Request
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.token_sequence import CAPACITY
from carousel.generation.torch_runner import CHUNK, TorchRunner, rows_are_identical
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from generation.markov import Markov
from generation.writing import KINDS, Text, lively, written

needs_kernels = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)
no_bf16 = fused.unavailable_reason(torch.bfloat16)

V = 11
BOUNDARY = SentenceBoundary.of("\n .abcdefgh")
SECONDS = (0.0, 0.0, 1e-5, 1e-3, 0.01)


def some_request(rng: random.Random, longest_prompt: int, longest: int) -> Request:
    sampling = SamplingConfig(
        temperature=rng.choice([0, 0.5, 1, 2]),
        top_k=rng.choice([None, 1, 4]),
        top_p=rng.choice([1, 0.6]),
        min_p=rng.choice([0, 0.1]),
        repetition_penalty=rng.choice([1, 1.3]),
        repetition_window=rng.choice([1, 3, 64]),
        candidates=rng.choice([1, 1, 2, 5]),
        seed=rng.randrange(2**64),
    )
    prompt = [rng.randrange(V) for _ in range(rng.choice([1, 2, rng.randint(1, longest_prompt)]))]
    logprobs = rng.choice([None, None, 0, 2])
    length = rng.choice([0, 1, rng.randint(0, longest)])
    return Request(
        prompt=prompt,
        length=length,
        sampling=sampling,
        sample=rng.randrange(2**64),
        logprobs=logprobs,
        boundary=BOUNDARY,
    )


def alone(engine: Engine, request: Request) -> Text:
    (text,) = written(engine, request, seconds=1.0)
    return text


def assert_same(got: Text, want: Text) -> None:
    assert got.ids == want.ids
    assert got.logprobs == want.logprobs  # bit by bit
    assert (got.is_finished, got.error) == (want.is_finished, want.error)


def assert_begins(want: Text, got: Text) -> None:
    """What was told of a text that left is how the whole of it begins."""
    assert want.ids[: len(got.ids)] == got.ids
    assert want.logprobs[: len(got.logprobs)] == got.logprobs


class Schedule:
    """Texts join, leave, go on, are interrupted, in random order; threads come and go."""

    def __init__(
        self, engine: Engine, rng: random.Random, requests: list[Request], most: int
    ) -> None:
        self.engine, self.rng, self.most = engine, rng, most
        self.waiting = list(enumerate(requests))
        self.texts: dict[int, Text] = {}
        self.writing: set[int] = set()
        self.has_left: set[int] = set()

    def run(self) -> None:
        while self.waiting or len(self.engine):
            event = self.rng.choice([self.join, self.join, self.leave, self.advance, self.advance])
            event()

    def join(self) -> None:
        for _ in range(self.rng.choice([1, 1, 5, self.most])):
            if self.waiting and len(self.writing) < self.most:
                key, request = self.waiting.pop()
                self.engine.add(key, request)
                self.texts[key] = Text()
                self.writing.add(key)

    def leave(self) -> None:
        if self.writing and self.rng.random() < 0.1:
            key = self.rng.choice(sorted(self.writing))
            self.engine.abort(key)
            self.writing.remove(key)
            self.has_left.add(key)

    def advance(self) -> None:
        if type(self.engine._runner) is KernelRunner:  # torch's own products are not so exact
            torch.set_num_threads(self.rng.choice([1, 2]))
        seconds = self.rng.choice(SECONDS)
        interrupter = threading.Timer(self.rng.random() * seconds, self.engine.interrupt)
        match self.rng.randrange(4):
            case 0:
                self.engine.interrupt()
            case 1:
                interrupter.start()
        for output in self.engine.step(seconds):
            assert output.key in self.writing
            self.texts[output.key].add(output)  # type: ignore[index]
            if output.is_finished:
                self.writing.remove(output.key)  # type: ignore[arg-type]
        if interrupter.ident is not None:
            interrupter.join()
        assert len(self.engine) == len(self.writing)


def assert_a_schedule_changes_nothing(
    engine: Engine, seed: int, texts: int, longest_prompt: int, longest: int, most: int
) -> None:
    rng = random.Random(seed)
    requests = [some_request(rng, longest_prompt, longest) for _ in range(texts)]
    schedule = Schedule(engine, rng, requests, most)
    schedule.run()
    assert schedule.texts.keys() == set(range(texts))
    torch.set_num_threads(1)
    for key, request in enumerate(requests):
        want = alone(engine, request)
        assert want.is_finished
        if key in schedule.has_left:
            assert_begins(want, schedule.texts[key])
        else:
            assert_same(schedule.texts[key], want)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


COMPUTE_DTYPES = [torch.float32] if no_bf16 else [torch.float32, torch.bfloat16]


@torture
@needs_kernels
@pytest.mark.parametrize("compute_dtype", COMPUTE_DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_the_same_in_any_company(kind: str, compute_dtype: torch.dtype) -> None:
    model = lively(V, num_layers=2, embedding_size=5, hidden_size=40, **KINDS[kind])
    engine = Engine(model, compute_dtype=compute_dtype)
    assert type(engine._runner) is KernelRunner
    for seed in range(amount(1, 20)):
        assert_a_schedule_changes_nothing(engine, seed, 90, 300, 300, most=70)


PLAIN = {
    "lstm": {"hidden_size": 24},
    "layer norm": {"hidden_size": 24, "layer_norm": True, "num_layers": 2},
    "mlp": {"model": "mlp", "context_length": 5, "hidden_size": 24},
    "transformer": {
        "model": "transformer",
        "context_length": 9,
        "embedding_size": 8,
        "hidden_size": 16,
        "num_layers": 2,
    },
    "learned positions": {
        "model": "transformer",
        "context_length": CHUNK + 60,
        "embedding_size": 8,
        "hidden_size": 16,
        "positions": "learned",
    },
}


@torture
@pytest.mark.parametrize("name", PLAIN)
def test_so_it_is_where_the_model_itself_is_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    model = lively(V, **{"embedding_size": 5, **PLAIN[name]})
    engine = Engine(model)
    assert type(engine._runner) is TorchRunner
    for seed in range(amount(1, 10)):
        assert_a_schedule_changes_nothing(engine, seed, 20, CHUNK + 30, 20, most=18)


@needs_kernels
@pytest.mark.parametrize("compute_dtype", COMPUTE_DTYPES, ids=str)
def test_a_text_is_the_same_in_a_batch_of_any_size(compute_dtype: torch.dtype) -> None:
    """Wherever it stands in it, and whatever stands beside it."""
    model = lively(V, num_layers=2, embedding_size=5, hidden_size=40)
    config = SamplingConfig(temperature=1, seed=5)
    request = Request(prompt=[1, 2], length=25, sampling=config, logprobs=3)
    engine, rng = Engine(model, compute_dtype=compute_dtype), random.Random(0)
    want = alone(engine, request)
    for size in range(2, 71):
        torch.set_num_threads(1 + size % 2)
        place = rng.randrange(size)
        requests = [
            replace(request, sampling=SamplingConfig(temperature=1, seed=rng.randrange(99)))
            for _ in range(size)
        ]
        requests[place] = request
        assert_same(written(engine, *requests)[place], want)


@needs_kernels
@settings(max_examples=amount(25, 500))
@given(
    seconds=st.lists(st.floats(0, 2e-3), min_size=1, max_size=4),
    prompt=st.lists(st.integers(0, V - 1), min_size=1, max_size=40),
    length=st.integers(0, 200),
    others=st.integers(0, 9),
)
def test_a_text_is_the_same_however_long_it_goes_on_at_a_time(
    seconds: list[float], prompt: list[int], length: int, others: int
) -> None:
    engine = Engine(ONE)
    request = Request(prompt=prompt, length=length, logprobs=1)
    want = alone(engine, request)
    for n in range(others):
        engine.add(f"other {n}", Request(prompt=[n], length=150 * n))
    engine.add(0, request)
    text, turn = Text(), 0
    while not text.is_finished:
        for output in engine.step(seconds[turn % len(seconds)]):
            if output.key == 0:
                text.add(output)
        turn += 1
    assert_same(text, want)


ONE = lively(V, embedding_size=5, hidden_size=17)


@needs_kernels
def test_a_text_that_outgrows_its_room_goes_on_as_it_was() -> None:
    """A machine with the same state is given the text so far as its prompt; and one in company."""
    engine = Engine(ONE)
    length = 2 * CAPACITY + 500
    config = SamplingConfig(temperature=1, repetition_penalty=1.2, repetition_window=50)
    request = Request(prompt=[1, 2, 3], length=length, sampling=config, logprobs=1)
    whole = alone(engine, request)
    assert len(whole.ids) == length
    assert len(whole.logprobs) == length + 2
    others = [Request(prompt=[n], length=CAPACITY + n, sampling=config) for n in range(1, 4)]
    torch.set_num_threads(2)
    assert_same(written(engine, request, *others, seconds=0.003)[0], whole)
    read = alone(engine, Request(prompt=[1, 2, 3, *whole.ids], length=0, logprobs=1))
    assert read.logprobs == whole.logprobs
    greedy = [
        Request(prompt=prompt, length=40, sampling=SamplingConfig(temperature=0))
        for prompt in ([1, 2, 3, *whole.ids[:CAPACITY]], [1, 2, 3, *whole.ids[: 2 * CAPACITY + 1]])
    ]
    for one, text in zip(greedy, written(engine, *greedy), strict=True):
        assert text.ids == alone(engine, one).ids


@needs_kernels
def test_the_engine_may_be_made_with_any_number_of_threads() -> None:
    model = lively(86, embedding_size=64, hidden_size=256)
    request = Request(prompt=[1], length=200, logprobs=2)
    texts = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        texts.append(alone(Engine(model), request))
    assert_same(texts[1], texts[0])


class Uneven(Markov):
    """The same in every row, but for the last bits: as a product may be, of so many rows."""

    def forward(self, tokens, state=None):
        logits, state = super().forward(tokens, state)
        row = torch.arange(len(tokens))[:, None, None]
        return logits * (1 + 1e-2 * row), state


def test_where_one_row_is_not_as_another_each_text_has_a_batch_of_its_own() -> None:
    assert rows_are_identical(Markov(V), 16)
    assert not rows_are_identical(Uneven(V), 16)
    assert_a_schedule_changes_nothing(Engine(Uneven(V)), 0, 24, 40, 60, most=20)


@pytest.mark.parametrize("model", [ONE, Markov(V)], ids=["kernel", "plain"])
def test_texts_that_joined_together_have_come_equally_far(model: LanguageModel) -> None:
    """At whatever time one looks, unless somebody interrupts; whoever else comes and goes."""
    rng, engine = random.Random(0), Engine(model)
    told: dict[str, int] = {}
    for turn in range(60):
        if turn % 6 == 0:
            for n in range(rng.randint(1, 25)):
                key = f"{turn} {n}"
                told[key] = 0
                engine.add(key, Request(prompt=[1, 2, 3], length=100_000))
        torch.set_num_threads(1 + turn % 2)
        for output in engine.step(rng.choice([0.0, 1e-4, 1e-3])):
            told[output.key] += len(output.ids)  # type: ignore[index]
        for key in rng.sample(sorted(told), len(told) // 20):
            engine.abort(key)
            del told[key]
        joined = {key.split()[0] for key in told}
        for when in joined:
            assert len({n for key, n in told.items() if key.split()[0] == when}) == 1
        ages = sorted(joined, key=int)
        advanced = [next(n for key, n in told.items() if key.split()[0] == age) for age in ages]
        assert advanced == sorted(advanced, reverse=True)
    assert max(told.values()) >= 60 - 2  # each call is a step; two only read the prompt of three
