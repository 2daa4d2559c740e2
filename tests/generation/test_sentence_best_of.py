"""The best of several samples of each sentence: what is kept is what the definition says."""

import copy
import itertools
import math
import re

import pytest
import torch

from carousel.data.vocabulary import Vocabulary
from carousel.errors import ConfigError
from carousel.generation import sentence_best_of
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.generate import continue_text, generate
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.next_token import sampler_settings
from carousel.generation.request import Request
from carousel.generation.runner import Runner
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.token_sequence import TokenSequence
from carousel.generation.torch_runner import TorchRunner
from carousel.models.base import LanguageModel
from carousel.ops.sampling import distribution, draw, present, uniform
from generation.markov import Markov
from generation.test_engine_bits import needs_kernels
from generation.writing import KINDS, lively, log_p_of, written

CHARACTERS = tuple('\n ".?abc')
BOUNDARY = SentenceBoundary.of(CHARACTERS)
ENDS = re.compile(r"[.?]\"*[\n ]|\S[ ]*\n")  # of a sentence: without SentenceBoundary


def text_of(ids: list[int]) -> str:
    return "".join(CHARACTERS[token] for token in ids)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('He said: "Go." And he went.\nThe end', ['He said: "Go." ', "And he went.\n", "The end"]),
        ("\n\nA line without a stop\n\nAnother\n", ["\n\nA line without a stop\n", "\nAnother\n"]),
        (
            "3.14 is no end. (This is!) «So?» Yes",
            ["3.14 is no end. ", "(This is!) ", "«So?» ", "Yes"],
        ),
        ('"" A quotation mark alone', ['"" A quotation mark alone']),
        ("他走了。她笑了！", ["他走了。", "她笑了！"]),
        ("One.\u00a0Two?\tThree…", ["One.\u00a0", "Two?\t", "Three…"]),
        (" . ", [" . "]),
        ("", []),
    ],
)
def test_where_a_sentence_ends(text: str, sentences: list[str]) -> None:
    characters = sorted({*text})
    boundary, ids = SentenceBoundary.of(characters), [characters.index(c) for c in text]
    found, start = [], 0
    for end in range(1, len(ids) + 1):
        if boundary.is_end(ids[start:end]) or end == len(ids):
            found.append(text[start:end])
            start = end
    assert found == sentences


def test_marks_of_characters_that_hold_none_end_nothing() -> None:
    boundary = SentenceBoundary.of("abc")
    assert not any(boundary.is_end(ids) for ids in itertools.product(range(3), repeat=3))


def settled(
    model: LanguageModel, request: Request, longest: int, stride: int, run: int, memory: int
) -> list[int]:
    """The ids by definition, one forward of all that stands for every single draw."""
    config, ids, number = request.sampling, list(request.prompt), 0
    end = len(request.prompt) + request.length

    def drawn(so_far: list[int], temperature: float, number: int) -> int:
        (row,) = log_p_of(model, [*so_far, 0])[-1:]
        recent = torch.tensor(so_far[-config.repetition_window :])
        stages = sampler_settings(config)._replace(temperature=temperature)
        p = distribution(row, present(recent, model.vocab_size), stages)
        u = uniform(config.seed, number % 2**64, len(so_far) - len(request.prompt))
        return int(draw(p, torch.tensor(u).double()))

    is_new_sentence = False
    while len(ids) < end:
        opening = []
        if is_new_sentence and min(longest, end - len(ids)) > sentence_best_of.OPENING:
            for _ in range(sentence_best_of.OPENING):
                opening.append(drawn([*ids, *opening], 1.0, request.sample))
        for n in range(len(opening), 0, -1):
            opening = opening[:n] if ENDS.search(text_of(opening[:n])) else opening
        found = []
        for _ in range(config.candidates):
            number += 1
            sentence = [*opening]
            while len(ids) + len(sentence) < end and len(sentence) < longest:
                if ENDS.search(text_of(sentence)):
                    break
                so_far = [*ids, *sentence]
                sentence.append(drawn(so_far, config.temperature, request.sample + (number << 32)))
            whole = [*ids, *sentence]
            logprobs = log_p_of(model, whole)[len(ids) - 1 :][range(len(sentence)), sentence]
            begin = max(0, len(ids) - memory)
            runs = [whole[at : at + run] for at in range(begin, len(whole) - run + 1)]
            fresh = runs[max(0, len(ids) - begin - run + 1) :]  # those that end in the sentence
            is_new = all(runs.count(each) == 1 for each in fresh)
            has_ended = bool(ENDS.search(text_of(sentence)))
            found.append((has_ended, is_new, float(logprobs.mean()), sentence, logprobs))
        for done in range(len(opening) + stride, longest, stride):
            ended = [mean for has, is_new, mean, s, _ in found if has and is_new and len(s) <= done]
            behind = max(ended, default=-math.inf)
            found = [f for f in found if len(f[3]) <= done or float(f[4][:done].mean()) >= behind]
        is_new_sentence, *_, sentence, _ = max(found, key=lambda each: each[:3])
        ids += sentence
    return ids[len(request.prompt) :]


CONFIGS = [
    SamplingConfig(temperature=1, candidates=3, seed=1),
    SamplingConfig(temperature=0.6, top_p=0.9, candidates=2, seed=2),
    SamplingConfig(temperature=1.3, repetition_penalty=1.3, repetition_window=4, candidates=4),
]


@pytest.mark.parametrize(
    ("longest", "stride", "run", "memory"), [(5, 4, 3, 8), (12, 4, 2, 1), (21, 1, 5, 4096)]
)
@pytest.mark.parametrize(
    ("runner", "kind"),
    [
        *(pytest.param(KernelRunner, kind, marks=needs_kernels) for kind in KINDS),
        *((TorchRunner, kind) for kind in (*KINDS, "markov")),
    ],
)
def test_what_is_settled_is_what_the_definition_says(
    runner: type,
    kind: str,
    longest: int,
    stride: int,
    run: int,
    memory: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentence_best_of, "LONGEST", longest)
    monkeypatch.setattr(sentence_best_of, "STRIDE", stride)
    monkeypatch.setattr(sentence_best_of, "RUN", run)
    monkeypatch.setattr(sentence_best_of, "MEMORY", memory)
    if runner is TorchRunner:
        monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    v = len(CHARACTERS)
    double: LanguageModel
    if kind == "markov":
        double = model = Markov(v)
    else:
        model = lively(v, num_layers=2, embedding_size=5, hidden_size=9, **KINDS[kind])
        double = copy.deepcopy(model).double()
    requests = [
        Request(
            prompt=[3 + n] * (1 + 2 * n),
            length=20 + n,
            sampling=config,
            sample=n,
            boundary=BOUNDARY,
        )
        for n, config in enumerate(CONFIGS)
    ]
    engine = Engine(model)
    assert type(engine._runner) is runner
    for request, text in zip(requests, written(engine, *requests), strict=True):
        assert text_of(text.ids) == text_of(settled(double, request, longest, stride, run, memory))
        assert text.error is None


@pytest.mark.parametrize("kernels", [pytest.param("auto", marks=needs_kernels), "off"])
def test_the_chances_of_a_settled_text_are_told_with_its_ids(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", kernels)
    model = lively(len(CHARACTERS), model="lstm")
    config = SamplingConfig(temperature=1, candidates=4)
    quiet, told = (
        Request(prompt=[4, 5, 6], length=90, sampling=config, logprobs=k, boundary=BOUNDARY)
        for k in (None, 2)
    )
    engine = Engine(model)
    (want,) = written(engine, quiet)
    engine.add("it", told)
    ids: list[int] = []
    logprobs = []
    while len(engine):
        (output,) = engine.step(0.0)
        ids, logprobs = ids + output.ids, logprobs + output.logprobs
        assert len(logprobs) >= len(ids) + (2 if ids else 0)
    assert ids == want.ids
    log_p = log_p_of(model, [4, 5, 6, *ids])
    assert [c.log_p for c in logprobs] == pytest.approx(
        log_p.gather(1, torch.tensor([5, 6, *ids])[:, None])[:, 0].tolist(), abs=1e-4
    )


def test_the_likeliest_of_more_candidates_is_likelier() -> None:
    model = lively(len(CHARACTERS), model="gru")
    means = []
    for candidates in (1, 4, 16):
        config = SamplingConfig(temperature=1, candidates=candidates)
        request = Request(prompt=[5], length=400, sampling=config, logprobs=0, boundary=BOUNDARY)
        (text,) = written(Engine(model), request)
        means.append(sum(logprob.log_p for logprob in text.logprobs) / 400)
    assert means[0] + 0.05 < means[1] < means[2] - 0.05


@pytest.mark.parametrize(
    ("before", "sentence", "repeats"),
    [
        ("abcde", "xabcd", True),  # what stood before
        ("abcde", "xabce", False),
        ("xyzab", "cdabcd", True),  # a run may begin before the sentence
        ("", "abcdxabcd", True),  # or stand in it twice
        ("", "aaaaa", True),  # and overlap itself
        ("abcdxabcd", "efgh", False),  # what is repeated already is no fault of the sentence
        ("abcdxabc", "d", True),
        ("", "abc", False),
    ],
)
def test_a_sentence_that_repeats_a_run(
    before: str, sentence: str, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_best_of, "RUN", 4)
    assert sentence_best_of.repeats(before, sentence) is repeats


def test_a_prompt_that_is_only_read_needs_no_candidates() -> None:
    model = lively(len(CHARACTERS), model="rnn")
    config = SamplingConfig(candidates=4)
    request = Request(prompt=[4, 5, 6], length=0, sampling=config, logprobs=0, boundary=BOUNDARY)
    (text,) = written(Engine(model), request)
    assert (text.ids, len(text.logprobs), text.is_finished) == ([], 2, True)


def test_damaged_weights_are_told() -> None:
    model = lively(len(CHARACTERS), model="lstm")
    with torch.no_grad():
        model.output.bias[2] = torch.nan  # type: ignore[union-attr, index]
    request = Request(
        prompt=[4], length=9, sampling=SamplingConfig(candidates=3), boundary=BOUNDARY
    )
    (text,) = written(Engine(model), request)
    assert text.ids == []
    assert text.error is not None
    assert "NaN" in text.error


def test_weights_that_fail_under_way_are_told() -> None:
    model = lively(len(CHARACTERS), model="lstm")
    with torch.no_grad():
        model.embedding.weight[3] = torch.nan  # type: ignore[union-attr, index]
    errors = set()
    for sample in range(12):
        config = SamplingConfig(temperature=1, candidates=2)
        request = Request(prompt=[4], length=40, sampling=config, sample=sample, boundary=BOUNDARY)
        (text,) = written(Engine(model), request)
        errors.add(text.error)
        assert len(text.ids) == 40 or text.error is not None
        assert 3 not in text.ids[:-1]
    assert {*errors} >= {"NaN or infinity among the logits"}


def test_how_a_sentence_opens_is_the_models_own_choice() -> None:
    model = lively(len(CHARACTERS), model="gru")
    opened = {}
    for candidates in (1, 8):
        config = SamplingConfig(temperature=0.3, candidates=candidates)
        request = Request(prompt=[5], length=3000, sampling=config, boundary=BOUNDARY)
        (text,) = written(Engine(model), request)
        starts = [at.end() for at in ENDS.finditer(text_of(text.ids))]
        opened[candidates] = len({text_of(text.ids)[start : start + 2] for start in starts})
    assert opened[8] > opened[1]


def test_without_chance_every_sentence_opens_and_goes_on_with_the_likeliest() -> None:
    model = lively(len(CHARACTERS), model="gru")
    one, more = (
        Request(
            prompt=[5],
            length=200,
            sampling=SamplingConfig(
                temperature=0, repetition_penalty=1.5, repetition_window=9, candidates=candidates
            ),
            boundary=BOUNDARY,
        )
        for candidates in (1, 3)
    )
    straight, chosen = written(Engine(model), one, more)
    assert chosen.ids == straight.ids
    assert len(ENDS.findall(text_of(chosen.ids))) > 5


class Ledger:
    """A runner that knows which sequences were added and not yet removed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.sequences: set[TokenSequence] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._runner, name)

    def add(self, sequence: TokenSequence) -> None:
        self.sequences.add(sequence)
        self._runner.add(sequence)

    def fork(self, sequence: TokenSequence, other: TokenSequence) -> None:
        self.sequences.add(other)
        self._runner.fork(sequence, other)

    def remove(self, sequence: TokenSequence) -> None:
        self.sequences.discard(sequence)
        self._runner.remove(sequence)


@pytest.mark.parametrize("kernels", [pytest.param("auto", marks=needs_kernels), "off"])
def test_sequences_are_removed_as_soon_as_they_are_not_needed(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", kernels)
    engine = Engine(lively(len(CHARACTERS), model="rnn"))
    engine._runner = ledger = Ledger(engine._runner)  # type: ignore[assignment]
    config = SamplingConfig(temperature=1, candidates=3)
    engine.add("it", Request(prompt=[4], length=300, sampling=config, boundary=BOUNDARY))
    most = 0
    while len(engine):
        engine.step(0.0)
        most = max(most, len(ledger.sequences))
    assert most == 5  # the accepted text, the opening of a sentence, three candidates
    assert not ledger.sequences


def test_a_text_of_characters_has_sentences_and_one_of_ids_has_none() -> None:
    model, config = lively(len(CHARACTERS), model="lstm"), SamplingConfig(candidates=3)
    pieces = list(continue_text(model, Vocabulary(CHARACTERS), "ab", config, length=300))
    assert sum(map(len, pieces)) == 300
    assert all(ENDS.search(piece) for piece in pieces[:-1] if len(piece) < sentence_best_of.LONGEST)
    with pytest.raises(ConfigError, match="candidates above 1 need characters"):
        generate(model, [1], config)
