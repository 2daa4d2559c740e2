"""What an engine promises at its edges: beginnings, ends, mistakes, failures, interruptions."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from carousel.errors import ConfigError
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.request import ENDLESS, Request
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.torch_runner import TorchRunner
from carousel.kernels import decoding, fused
from carousel.models.base import LanguageModel
from generation.markov import Markov
from generation.writing import Text, lively, log_p_of, written

needs_kernels = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)

V = 9
LARGEST = 2**64 - 1


@pytest.fixture(params=["kernel", "plain"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    if request.param == "plain":
        monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    elif why is not None:
        pytest.skip(f"no kernels here: {why}")
    found = lively(V, embedding_size=5, hidden_size=20)
    assert type(Engine(found)._runner) is (
        TorchRunner if request.param == "plain" else KernelRunner
    )
    return found


def test_an_engine_without_texts_has_no_news(model: LanguageModel) -> None:
    engine = Engine(model)
    engine.interrupt()
    engine.abort("nobody")
    assert (len(engine), engine.step(10.0), engine.step(0.0)) == (0, [], [])


@pytest.mark.parametrize("prompt", [[3], [3, 1, 4], list(range(V)) * 60])
def test_nothing_to_draw_is_over_at_once(model: LanguageModel, prompt: list[int]) -> None:
    engine = Engine(model)
    engine.add("it", Request(prompt=prompt, length=0))
    assert engine.step(10.0) == [("it", [], [], True, None, 0)]
    assert len(engine) == 0


def test_nothing_to_draw_but_something_to_score(model: LanguageModel) -> None:
    for prompt in ([3], [3, 1], [3, 1, 4, 1, 5] * 100):
        (text,) = written(Engine(model), Request(prompt=prompt, length=0, logprobs=0))
        assert (text.ids, text.error, len(text.logprobs)) == ([], None, len(prompt) - 1)
        if len(prompt) > 1:
            want = log_p_of(model, prompt).gather(1, torch.tensor(prompt[1:])[:, None])[:, 0]
            assert [logprob.log_p for logprob in text.logprobs] == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 30])
def test_chances_are_told_of_all_ids_but_the_first(model: LanguageModel, length: int) -> None:
    prompt = [3, 1, 4]
    config = SamplingConfig(temperature=0.5, top_k=2)
    request = Request(prompt=prompt, length=length, sampling=config, logprobs=1)
    (text,) = written(Engine(model), request, seconds=0.0)
    assert len(text.ids) == length
    ids = [*prompt, *text.ids]
    want = log_p_of(model, ids)  # of the model itself, whatever the settings
    got = [logprob.log_p for logprob in text.logprobs]
    assert got == pytest.approx(want.gather(1, torch.tensor(ids[1:])[:, None])[:, 0], abs=1e-5)
    best = [logprob.top[0][0] for logprob in text.logprobs]
    assert best == want.argmax(1).tolist()


@pytest.mark.parametrize("asked", [0, 1, V - 1, V, V + 1, 10**30])
def test_there_are_no_more_alternatives_than_tokens(model: LanguageModel, asked: int) -> None:
    (text,) = written(Engine(model), Request(prompt=[1, 2], length=3, logprobs=asked))
    for logprob in text.logprobs:
        assert len(logprob.top) == min(asked, V)
    if asked >= V:
        total = sum(math.exp(log_p) for _, log_p in text.logprobs[0].top)
        assert total == pytest.approx(1, abs=1e-6)


def test_equally_likely_ids_are_told_the_lower_first(model: LanguageModel) -> None:
    with torch.no_grad():
        model.output.weight.zero_()  # type: ignore[union-attr]
        model.output.bias.zero_()[4] = 1  # type: ignore[union-attr]
    (text,) = written(Engine(model), Request(prompt=[1, 2], length=0, logprobs=4))
    assert [token for token, _ in text.logprobs[0].top] == [4, 0, 1, 2]


def test_seeds_and_samples_go_up_to_the_largest_word(model: LanguageModel) -> None:
    words = [0, 1, 2**32, 2**63 - 1, 2**63, LARGEST]
    requests = [
        Request(prompt=[1], length=25, sampling=SamplingConfig(temperature=1, seed=seed), sample=n)
        for seed in words
        for n in words
    ]
    engine = Engine(model)
    texts = {tuple(text.ids) for text in written(engine, *requests)}
    assert len(texts) == len(requests)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prompt": []}, ValueError, "the prompt must hold at least one token"),
        ({"length": -1}, ConfigError, "length must be a whole number, at least 0"),
        ({"length": ENDLESS + 1}, ConfigError, f"length must be .*, at most {ENDLESS:,}, got"),
        ({"length": True}, ConfigError, "length must be a whole number"),
        ({"length": 1.5}, ConfigError, "length must be a whole number"),
        ({"sample": -1}, ConfigError, "sample must be a whole number, at least 0"),
        ({"sample": LARGEST + 1}, ConfigError, r"sample must be .*, at most 2\^64 - 1"),
        ({"logprobs": -1}, ConfigError, "logprobs must be a whole number, at least 0"),
    ],
)
def test_what_is_no_text_is_refused_when_it_is_made(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Request(**({"prompt": [1], "length": 1} | change))  # type: ignore[arg-type]


def test_who_is_refused_leaves_no_trace(model: LanguageModel) -> None:
    engine = Engine(model)
    request = Request(prompt=[1, 2], length=20)
    engine.add("a", request)
    with pytest.raises(ValueError, match="a text is being generated under the key 'a'"):
        engine.add("a", request)
    for bad in (V, -1, 2**63, LARGEST):
        with pytest.raises(ValueError, match=f"ids must be from 0 to {V - 1}"):
            engine.add("b", Request(prompt=[1, bad], length=1))
    assert len(engine) == 1
    text = Text()
    while len(engine):
        (output,) = engine.step(0.001)
        text.add(output)
    engine.add("a", request)  # its key is free again
    assert text.ids == written(Engine(model), request)[0].ids


def test_a_text_that_left_may_come_again_from_the_beginning(model: LanguageModel) -> None:
    engine = Engine(model)
    request = Request(prompt=[1, 2], length=30, logprobs=1)
    engine.add("a", request)
    engine.step(0.0)
    engine.abort("a")
    engine.abort("a")
    assert len(engine) == 0
    assert engine.step(0.0) == []
    (again,), (want,) = written(engine, request), written(Engine(model), request)
    assert (again.ids, again.logprobs) == (want.ids, want.logprobs)


class Counted(Markov):
    """Has positions for 20 ids, and refuses to read more."""

    max_length = 20

    def initial_state(self, batch_size):
        return *super().initial_state(batch_size), torch.zeros(1, batch_size, dtype=torch.long)

    def forward(self, tokens, state=None):
        *last, read = self.initial_state(len(tokens)) if state is None else state
        read = read + tokens.shape[1]
        assert int(read.max()) <= self.max_length
        logits, last = super().forward(tokens, tuple(last))
        return logits, (*last, read)


@pytest.mark.parametrize(("prompt", "length"), [(1, 20), (4, 17), (20, 1), (21, 0)])
def test_a_text_may_use_every_position_and_no_more(prompt: int, length: int) -> None:
    engine = Engine(Counted(V))
    requests = [Request(prompt=[1] * prompt, length=length, logprobs=a) for a in (None, 1)]
    for _ in range(3):  # rows that nobody uses, or used, have their positions too
        for text in written(engine, *requests, Request(prompt=[2], length=3)):
            assert text.error is None
        assert [len(text.ids) for text in written(engine, *requests)] == [length, length]
    with pytest.raises(ConfigError, match=f"this model has positions for 20 .* has {prompt} and"):
        engine.add("b", Request(prompt=[1] * prompt, length=length + 1))
    assert len(engine) == 0


@pytest.fixture
def spoilt(model: LanguageModel) -> LanguageModel:
    """After the token 3 its numbers are none."""
    with torch.no_grad():
        model.embedding.weight[3] = math.nan  # type: ignore[union-attr]
    return model


def test_a_text_that_fails_says_so_and_disturbs_nobody(spoilt: LanguageModel) -> None:
    config = SamplingConfig(temperature=0.01)
    good = [Request(prompt=[1, 2], length=n, sampling=config, logprobs=2) for n in (1, 7, 60)]
    alone = [written(Engine(spoilt), request)[0] for request in good]
    assert all(3 not in text.ids[:-1] for text in alone), "another seed is needed"
    bad = [
        Request(prompt=prompt, length=40, logprobs=logprobs)
        for prompt in ([3], [1, 3], [1, 2, 3, 1])
        for logprobs in (None, 2)
    ]
    for seconds in (0.0, 0.1, 0.5):
        texts = written(Engine(spoilt), *good, *bad, seconds=seconds)
        for got, want in zip(texts, alone, strict=False):
            assert (got.ids, got.logprobs, got.error) == (want.ids, want.logprobs, None)
        for got in texts[len(good) :]:
            assert got.ids == []
            assert got.is_finished
            assert got.error == "NaN or infinity among the logits"


@pytest.mark.parametrize("prompt", [[3], [1, 3], [1, 2, 3]])
def test_after_a_text_has_failed_the_others_end_where_they_should(
    spoilt: LanguageModel, prompt: list[int]
) -> None:
    """Though there was time left to go on."""
    config = SamplingConfig(temperature=0.01)
    good = Request(prompt=[1, 2], length=60, sampling=config)
    bad = Request(prompt=prompt, length=200)
    engine = Engine(spoilt)
    first, second = written(engine, good, bad, seconds=0.05)  # so short that a call ends before
    assert len(first.ids) == 60
    assert (second.ids, second.is_finished) == ([], True)


def test_of_a_text_that_fails_only_what_is_known_is_told(spoilt: LanguageModel) -> None:
    prompt = [1, 2, 1, 3, 1]
    (text,) = written(Engine(spoilt), Request(prompt=prompt, length=5, logprobs=1))
    (want,) = written(Engine(spoilt), Request(prompt=prompt[:4], length=0, logprobs=1))
    assert len(want.logprobs) == 3
    assert text.logprobs == want.logprobs[: len(text.logprobs)]
    assert text.error is not None


def test_a_text_may_fail_where_it_draws(spoilt: LanguageModel) -> None:
    with torch.no_grad():
        spoilt.output.bias[3] = 50  # type: ignore[union-attr]
    (text,) = written(Engine(spoilt), Request(prompt=[1], length=5, logprobs=0))
    assert text.ids == [3]
    assert len(text.logprobs) == 1
    assert text.error is not None


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_where_all_numbers_are_none_every_text_fails(model: LanguageModel, weight: float) -> None:
    with torch.no_grad():
        model.output.bias[2] = weight  # type: ignore[union-attr]
    requests = [Request(prompt=[1, 2], length=3, logprobs=a) for a in (None, 0, 3)]
    for text in written(Engine(model), *requests):
        assert (text.ids, text.logprobs) == ([], [])
        assert text.error == "NaN or infinity among the logits"


def test_an_impossible_token_is_never_drawn(model: LanguageModel) -> None:
    with torch.no_grad():
        model.output.bias[2] = -math.inf  # type: ignore[union-attr]
    config = SamplingConfig(temperature=1e6)
    request = Request(prompt=[1], length=300, sampling=config, logprobs=V)
    (text,) = written(Engine(model), request)
    assert text.error is None
    assert 2 not in text.ids
    assert set(text.ids) == set(range(V)) - {2}
    assert text.logprobs[0].top[-1] == (2, -math.inf)


def test_an_interruption_ends_what_is_under_way_or_the_next(model: LanguageModel) -> None:
    engine = Engine(model)
    engine.add("a", Request(prompt=[1], length=ENDLESS))
    engine.step(0.01)
    for interrupt in (engine.interrupt, threading.Timer(0.2, engine.interrupt).start):
        interrupt()
        start = time.monotonic()
        engine.step(60.0)
        assert time.monotonic() - start < 20
    engine.interrupt()
    (output,) = engine.step(60.0)
    assert 1 <= len(output.ids) <= 8  # as many as the kernel writes without looking up
    (output,) = engine.step(0.5)  # it counts once
    assert len(output.ids) > 8


def test_without_a_limit_all_texts_come_to_their_ends(model: LanguageModel) -> None:
    engine = Engine(model)
    for length in (7, 20, 0):
        engine.add(length, Request(prompt=[1], length=length))
    for output in engine.step(math.inf):
        assert (len(output.ids), output.is_finished) == (output.key, True)
    assert len(engine) == 0


def test_one_may_go_on_several_times_before_asking_for_news(model: LanguageModel) -> None:
    engine = Engine(model)
    requests = [Request(prompt=[1, n], length=5 * n, logprobs=0) for n in range(4)]
    for n, request in enumerate(requests):
        engine.add(n, request)
    turns = 1
    while engine.run(0.0):
        turns += 1
    assert turns in (15, 16)  # the longest text; the ids of the prompt one by one, or at once
    assert not engine.run(1.0)
    want = written(Engine(model), *requests)
    for output in engine.outputs():
        assert output.is_finished
        assert (output.ids, output.logprobs) == (want[output.key].ids, want[output.key].logprobs)  # type: ignore[index]
    assert engine.outputs() == []


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each call of the kernel the steps it is asked for; each takes 1 ms a text."""
    asked: list[int] = []
    write: Callable[..., None] = decoding.decode

    def slow(
        machine: object, page: decoding.DecodeBatch, steps: int, interrupted: torch.Tensor
    ) -> None:
        asked.append(steps)
        taken = 1 if interrupted else steps
        write(machine, page, taken, interrupted)
        time.sleep(1e-3 * taken * len(page.ids))

    monkeypatch.setattr(decoding, "decode", slow)
    return asked


@needs_kernels
def test_a_call_takes_about_as_long_as_it_may(steps: list[int]) -> None:
    """Also after an interruption, and with more texts than before."""
    engine = Engine(lively(V, hidden_size=8))
    request = Request(prompt=[1], length=100_000)
    engine.add(0, request)
    for _ in range(5):
        engine.step(0.05)
    assert 2 <= max(steps) <= 60
    steps.clear()
    engine.interrupt()
    engine.step(5.0)
    assert len(steps) == 1
    steps.clear()
    engine.step(0.05)
    assert sum(steps) <= 60
    for key in range(1, 10):
        engine.add(key, replace(request))
    steps.clear()
    engine.step(0.05)
    assert sum(steps) <= 8


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        Engine(lively(V, hidden_size=8).train())


@pytest.mark.parametrize("candidates", [1, 3])
def test_a_paused_text_draws_nothing_and_goes_on_as_if_it_had_not_been(
    model: LanguageModel, candidates: int
) -> None:
    config = SamplingConfig(temperature=0.9, candidates=candidates)
    boundary = SentenceBoundary.of("abcdef. \n"[:V]) if candidates > 1 else None
    request = Request(prompt=[1, 2], length=200, sampling=config, boundary=boundary)
    (want,) = written(Engine(model), request)
    engine = Engine(model)
    engine.add("a", request)
    engine.add("b", Request(prompt=[3], length=10**9))
    text = Text()
    for _ in range(5):
        for output in engine.step(0.0):
            if output.key == "a":
                text.add(output)
        engine.pause("a")
        assert not engine.is_idle
        for _ in range(3):
            drawn = {output.key: output.num_drawn for output in engine.step(0.001)}
            assert drawn.get("a", 0) == 0
            assert drawn["b"] > 0
        engine.resume("a")
    engine.abort("b")
    engine.pause("a")
    assert engine.is_idle or len(engine) == 0
    engine.resume("a")
    while len(engine):
        for output in engine.step(0.01):
            text.add(output)
    assert text.ids == want.ids
