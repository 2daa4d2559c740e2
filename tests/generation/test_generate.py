"""Texts: the right distribution, the same text for the same request, errors before the text."""

import math
from collections import Counter
from itertools import islice

import pytest
import torch
from scipy.stats import chisquare

from carousel.data.vocabulary import Vocabulary
from carousel.errors import ConfigError, DivergenceError, TextError
from carousel.generation.config import SamplingConfig
from carousel.generation.generate import continue_text, generate, length_left
from carousel.generation.torch_runner import CHUNK
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.ops.sampling import Settings, distribution, present
from generation.markov import Markov

VOCABULARY = Vocabulary.from_text("\n abcde")
V = len(VOCABULARY)
AS_IT_IS = SamplingConfig(temperature=1.0)


@pytest.fixture
def lstm():
    torch.manual_seed(0)
    model = build(ModelConfig(embedding_size=5, hidden_size=12, num_layers=2, dropout=0.5), V)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model.eval()


def text(model, prompt="ab", config=AS_IT_IS, **request) -> str:
    request = {"length": 40} | request
    return "".join(continue_text(model, VOCABULARY, prompt, config, **request))


def test_the_text_follows_the_model() -> None:
    model, prompt = Markov(4), [1, 2]
    first, second = Counter(), Counter()
    for n in range(3_000):
        a, b = islice(generate(model, prompt, AS_IT_IS, sample=n), 2)
        first[a] += 1
        second[a, b] += 1
    p = torch.softmax(model.table.double(), dim=-1)
    expected = p[1, 2] * 3_000
    assert chisquare([first[a] for a in range(4)], expected).pvalue > 1e-3
    pairs = [(a, b) for a in range(4) for b in range(4)]
    expected = [(p[1, 2, a] * p[2, a, b] * 3_000).item() for a, b in pairs]
    assert chisquare([second[pair] for pair in pairs], expected).pvalue > 1e-3


def test_greedy_is_the_most_probable_each_time() -> None:
    model = Markov(5)
    got = list(islice(generate(model, [3, 1], SamplingConfig(temperature=0)), 20))
    previous, current = 3, 1
    for token in got:
        assert token == model.table[previous, current].argmax()
        previous, current = current, token


def test_the_repetition_window_slides_over_prompt_and_text() -> None:
    class Flat(Markov):  # the logits of every step are equal: only the window tells tokens apart
        def __init__(self) -> None:
            super().__init__(6)
            self.table = torch.zeros(6, 6, 6)

    config = SamplingConfig(temperature=0, repetition_penalty=2.0, repetition_window=3)
    got = list(islice(generate(Flat(), [0, 5, 1, 2], config), 7))
    # greedy, the lowest id that is not among the last three: 0 has already left the window
    assert got == [0, 3, 1, 2, 0, 3, 1]


def test_each_setting_reaches_its_stage() -> None:
    model = Markov(7)
    prompt = [3, 2, 2, 5]
    changes = [
        {"temperature": 0.5},
        {"top_k": 2},
        {"top_p": 0.4},
        {"min_p": 0.5},
        {"repetition_penalty": 3.0},
        {"repetition_penalty": 3.0, "repetition_window": 1},
    ]
    for change in changes:
        config = SamplingConfig(**({"temperature": 1.0} | change))
        seen = present(torch.tensor(prompt[-config.repetition_window :]), 7)
        stages = {k: v for k, v in change.items() if k != "repetition_window"}
        p = distribution(model.table[2, 5], seen, Settings(**stages))
        drawn = Counter(next(generate(model, prompt, config, sample=n)) for n in range(1_500))
        kept = p > 0
        assert all(kept[token] for token in drawn), change
        counts = [drawn[i] for i in range(7) if kept[i]]
        assert kept.sum() == 1 or chisquare(counts, p[kept] * 1_500).pvalue > 1e-3, change


def test_the_same_request_gives_the_same_text_alone_and_beside_others(lstm) -> None:
    prompts = ["a", "bcd e", "\n" + "abcde " * 60]
    alone = [text(lstm, prompt, sample=n) for n, prompt in enumerate(prompts)]
    others = [continue_text(lstm, VOCABULARY, "e", AS_IT_IS, length=40, sample=9)]
    texts = [
        continue_text(lstm, VOCABULARY, prompt, AS_IT_IS, length=40, sample=n)
        for n, prompt in enumerate(prompts)
    ]
    beside = [""] * len(prompts)
    while any(len(text) < 40 for text in beside):  # piece by piece, in turn
        next(others[0], "")
        for n, pieces in enumerate(texts):
            beside[n] += next(pieces, "")
    assert beside == alone


def test_seeds_and_samples_differ(lstm) -> None:
    texts = {
        text(lstm, config=SamplingConfig(seed=s), sample=n) for s in range(5) for n in range(5)
    }
    assert len(texts) == 25


def test_a_prompt_longer_than_a_piece_is_read_whole(lstm) -> None:
    prompt = [k % V for k in range(3 * CHUNK + 7)]
    logits, _ = lstm(torch.tensor([prompt]))
    token = next(generate(lstm, prompt, SamplingConfig(temperature=0)))
    assert token == logits[0, -1].argmax()
    model = Markov(V)  # whose text depends on the last two tokens only
    long = [*prompt[: CHUNK - 1], 3, 4]  # the border between two pieces runs between them
    want = list(islice(generate(model, [3, 4], AS_IT_IS), 50))
    assert list(islice(generate(model, long, AS_IT_IS), 50)) == want


def test_an_empty_prompt_begins_after_a_line_feed_or_else_the_first_character() -> None:
    model = Markov(3, sharpness=9)

    def begun(vocabulary: Vocabulary) -> str:
        """Return the character after which the text of an empty prompt begins."""

        def text(prompt: str) -> str:
            return "".join(continue_text(model, vocabulary, prompt, AS_IT_IS, length=30))

        texts = {text(character): character for character in vocabulary.itos}
        assert len(texts) == 3
        return texts[text("")]

    assert begun(Vocabulary(("x", "y", "\n"))) == "\n"
    assert begun(Vocabulary(("x", "y", "z"))) == "x"


def test_length_counts_characters_and_stop_ends_earlier() -> None:
    model = Markov(V)
    whole = text(model, length=60)
    assert len(whole) == 60
    stop = whole[20:23]
    assert text(model, length=60, stop=[stop]) == whole[: whole.index(stop)]
    assert text(model, length=22, stop=[whole[20:23] + "\0"]) == whole[:22]  # flushed at the end


def test_the_value_of_the_generator_says_why_it_ended() -> None:
    def why(**request) -> str:
        def collect():
            seen.append((yield from continue_text(model, VOCABULARY, "ab", AS_IT_IS, **request)))

        seen: list[str] = []
        list(collect())
        return seen[0]

    model = Markov(V)
    assert why(length=5) == "length"
    assert why(length=200, stop=["a"]) == "stop"


def test_gradients_and_inference_mode_stay_the_callers_affair(lstm) -> None:
    tokens = generate(lstm, [1], AS_IT_IS)
    next(tokens)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    lstm(torch.tensor([[1, 2]]))[0].sum().backward()  # between two tokens
    next(tokens)
    assert not lstm.training


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"length": 0}, ConfigError, "length must be a whole number, at least 1, got 0"),
        ({"length": 2.5}, ConfigError, "length must be a whole number, at least 1, got 2.5"),
        ({"length": True}, ConfigError, "length must be a whole number, at least 1, got True"),
        ({"stop": "END"}, ConfigError, "stop must be strings of at least one character"),
        ({"stop": [""]}, ConfigError, "stop must be strings of at least one character"),
        ({"stop": [3]}, ConfigError, "stop must be strings of at least one character"),
        ({"precision": "f16"}, ConfigError, "precision must be one of float32, bf16, got 'f16'"),
        ({"sample": -1}, ConfigError, "sample must be a whole number, at least 0"),
        ({"prompt": "abx"}, TextError, r"'x' \(U\+0078\) at position 2"),
    ],
)
def test_mistakes_are_told_before_the_first_character(request_, error, message) -> None:
    request_ = {"prompt": "ab", "config": AS_IT_IS, "length": 5} | request_
    with pytest.raises(error, match=message):
        continue_text(Markov(V), VOCABULARY, **request_)  # not read


class Ending(Markov):
    """Has positions for 20 characters, and says what it was made to read."""

    max_length = 20
    read = 0

    def forward(self, tokens, state=None):
        self.read = tokens.shape[1] + (0 if state is None else self.read)
        assert self.read <= self.max_length
        return super().forward(tokens, state)


@pytest.mark.parametrize(("prompt", "length"), [("", 20), ("a", 20), ("abcd", 17), ("ab" * 10, 1)])
def test_a_text_may_use_every_position_there_is(prompt: str, length: int) -> None:
    model = Ending(V)
    assert length_left(model, len(prompt) or 1) == length
    assert len(text(model, prompt, length=length)) == length
    assert model.read == 20  # all but the last one that is written, which need not be read
    assert length_left(Markov(V), 10**9) == math.inf


@pytest.mark.parametrize(
    ("prompt", "length", "message"),
    [
        ("", 21, "^this model has positions for 20 characters: after 1 a length of 20 would work, "
        "not 21$"),
        ("abcd", 18, "after 4 a length of 17 would work, not 18$"),
        ("ab" * 11, 1, "for 20 characters, the prompt has 22: a shorter one would work$"),
    ],
)  # fmt: skip
def test_a_text_beyond_the_last_position_is_refused_before_it_begins(
    prompt: str, length: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        continue_text(Ending(V), VOCABULARY, prompt, AS_IT_IS, length=length)  # not read


def test_a_model_in_training_mode_is_refused(lstm) -> None:
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        generate(lstm.train(), [1], AS_IT_IS)


def test_an_empty_prompt_of_ids_is_refused(lstm) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(lstm, [], AS_IT_IS)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_diverged_model_is_named(temperature: float) -> None:
    model = Markov(V)
    model.table[:] = math.nan
    with pytest.raises(DivergenceError, match="the model's weights are damaged or diverged"):
        next(generate(model, [1], SamplingConfig(temperature=temperature)))
