"""Evaluation: the mean loss over every character but the first, each counted once."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch

from carousel.errors import TextError
from carousel.models.evaluation import evaluate
from carousel.models.loss import cross_entropy
from models.small_models import CONFIGS, V, random_model

N = 101


def ids(count: int = N) -> np.ndarray:
    return np.random.default_rng(0).integers(V, size=count).astype(np.uint8)


def whole(count: int = N) -> float:
    """The loss by one forward over the whole text."""
    model = random_model(CONFIGS["two layers"])
    text = torch.from_numpy(ids(count).astype(np.int64))[None]
    with torch.no_grad():
        return cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean().item()


@pytest.mark.parametrize("chunk", [1, 7, 50, 100, 256])
def test_one_lane_is_one_forward_over_the_whole_text(chunk: int) -> None:
    model = random_model(CONFIGS["two layers"])
    assert evaluate(model, ids(), chunk=chunk) == pytest.approx(whole(), rel=1e-12)


@pytest.mark.parametrize("lanes", [2, 3, 99, 100, 1000])
@pytest.mark.parametrize("chunk", [1, 8, 256])
def test_lanes_are_stretches_of_the_text_each_from_no_past(lanes: int, chunk: int) -> None:
    model, text = random_model(CONFIGS["one layer"]), ids()
    edges = np.linspace(0, N - 1, min(lanes, N - 1) + 1).astype(int)
    pieces = [text[a : b + 1] for a, b in pairwise(edges)]
    each = [(len(piece) - 1, evaluate(model, piece)) for piece in pieces]
    expected = sum(n * loss for n, loss in each if loss is not None) / (N - 1)
    assert evaluate(model, text, lanes=lanes, chunk=chunk) == pytest.approx(expected, rel=1e-12)


def test_two_characters_are_enough_and_one_is_refused() -> None:
    model = random_model(CONFIGS["one layer"])
    assert evaluate(model, ids(2)) is not None
    with pytest.raises(TextError, match="an evaluation needs 2"):
        evaluate(model, ids(1))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_comes_back_and_dropout_does_not_act(training: bool) -> None:
    model = random_model(CONFIGS["two layers"]).train(training)
    assert evaluate(model, ids(), lanes=3) == evaluate(model, ids(), lanes=3)
    assert model.training is training
    with nothing_but_refusals(model), pytest.raises(RuntimeError, match="refused"):
        evaluate(model, ids())
    assert model.training is training


@contextmanager
def nothing_but_refusals(model: torch.nn.Module) -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise RuntimeError("refused")

    handle = model.register_forward_hook(refuse)
    yield
    handle.remove()


def test_torchs_generator_is_not_touched() -> None:
    model, before = random_model(CONFIGS["two layers"]).train(), torch.get_rng_state()
    evaluate(model, ids(), lanes=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_can_be_watched_and_abandoned() -> None:
    model, seen = random_model(CONFIGS["one layer"]), list[int]()

    def proceed(done: int) -> bool:
        seen.append(done)
        return len(seen) < 3

    assert evaluate(model, ids(), lanes=2, chunk=5, proceed=proceed) is None
    assert seen == [10, 20, 30]


@pytest.mark.parametrize("kind", ["mlp", "transformer", "no positions"])
@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_a_sliding_window_reads_the_whole_text_as_one_stream(kind: str, chunk: int) -> None:
    model, text = random_model(CONFIGS[kind]), torch.from_numpy(ids().astype(np.int64))[None]
    with torch.no_grad():
        want = cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean().item()
    assert evaluate(model, ids(), chunk=chunk) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("kind", ["learned positions", "sinusoidal positions"])
@pytest.mark.parametrize("chunk", [1, 256])
def test_positions_that_end_are_begun_again(kind: str, chunk: int) -> None:
    """Pieces of 20 characters, as many as there are positions; each begins without a past."""
    model, text = random_model(CONFIGS[kind]), ids()
    assert model.max_length == 20
    pieces = [text[a : a + 21] for a in range(0, N - 1, 20)]
    assert [len(piece) for piece in pieces] == [21] * 5
    want = np.mean([one_piece(model, piece) for piece in pieces])
    assert evaluate(model, text, chunk=chunk) == pytest.approx(want, rel=1e-12)
    edges = [0, 20, 40, 50, 70, 90, 100]  # two lanes of 50 targets
    total = sum((b - a) * one_piece(model, text[a : b + 1]) for a, b in pairwise(edges))
    assert evaluate(model, text, lanes=2) == pytest.approx(total / 100, rel=1e-12)


def one_piece(model: torch.nn.Module, piece: np.ndarray) -> float:
    """The mean loss over the characters of a piece but the first, which has no past."""
    text = torch.from_numpy(piece.astype(np.int64))[None]
    with torch.no_grad():
        return cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean().item()
