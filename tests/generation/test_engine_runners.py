"""The kernel's way to write, and the plain one, against the model's own forward in float64."""

import copy
import math
import random

import pytest
import torch
from torch import Tensor

import carousel
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.next_token import sampler_settings
from carousel.generation.request import Request
from carousel.generation.torch_runner import CHUNK, TorchRunner
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from carousel.ops.sampling import distribution, draw, present, uniform
from generation.markov import Markov
from generation.writing import KINDS, Text, lively, log_p_of, written

needs_kernels = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)
needs_bf16 = pytest.mark.skipif(
    (no_bf16 := fused.unavailable_reason(torch.bfloat16)) is not None,
    reason=f"no bfloat16: {no_bf16}",
)
each_kind = pytest.mark.parametrize("kind", KINDS)

SIZES = [  # layers, E, H, V: around what numbers are padded to, and the strips of a product
    (1, 5, 33, 7),
    (1, 5, 1, 2),
    (2, 5, 72, 86),
    (3, 5, 33, 300),
    (3, 16, 16, 16),
    (2, 64, 130, 65),
]
BOUND, BOUND_BF16 = 1e-5, 0.1  # of log p
K = 3  # alternatives


@pytest.fixture(params=["kernel", "plain"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    if request.param == "plain":
        monkeypatch.setenv("CAROUSEL_KERNELS", "off")
        return TorchRunner
    if why is not None:
        pytest.skip(f"no kernels here: {why}")
    return KernelRunner


def random_ids(length: int, v: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(v) for _ in range(length)]


def assert_scores(text: Text, prompt: list[int], want: Tensor, bound: float) -> None:
    """The chances of a prompt from its second id on, and the likeliest ids at each place."""
    assert len(text.logprobs) == len(want) == len(prompt) - 1
    assert text.ids == []
    k = min(K, want.shape[1])
    for token, logprob, row in zip(prompt[1:], text.logprobs, want, strict=True):
        assert logprob.log_p == pytest.approx(float(row[token]), abs=bound)
        ids, log_p = zip(*logprob.top, strict=True)
        assert list(log_p) == sorted(log_p, reverse=True)
        assert len(set(ids)) == len(ids) == k
        assert list(log_p) == pytest.approx(row[list(ids)].tolist(), abs=bound)
        assert float(row.sort(descending=True).values[k - 1]) == pytest.approx(log_p[-1], abs=bound)


@each_kind
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_chances_are_those_of_the_model(
    kind: str, sizes: tuple[int, int, int, int], runner: type
) -> None:
    layers, e, h, v = sizes
    config = KINDS[kind] | {"num_layers": layers, "embedding_size": e, "hidden_size": h}
    model = lively(v, **config)
    assert_right(model, runner, prompts=(2, 40, 23))


@each_kind
def test_tied_weights_are_read_for_the_logits(kind: str, runner: type) -> None:
    config = KINDS[kind] | {"embedding_size": 24, "hidden_size": 24, "tie_weights": True}
    assert_right(lively(19, num_layers=2, **config), runner, prompts=(30,))


def assert_right(model: LanguageModel, runner: type, prompts: tuple[int, ...]) -> None:
    engine = Engine(model)
    assert type(engine._runner) is runner
    ids = [random_ids(length, model.vocab_size, length) for length in prompts]
    texts = written(engine, *(Request(prompt=each, length=0, logprobs=K) for each in ids))
    double = copy.deepcopy(model).double()
    for text, prompt in zip(texts, ids, strict=True):
        assert_scores(text, prompt, log_p_of(double, prompt), BOUND)


@needs_bf16
@each_kind
@pytest.mark.parametrize("sizes", [(1, 5, 33, 7), (3, 16, 64, 86)], ids=str)
def test_products_of_bfloat16_are_near_the_model(
    kind: str, sizes: tuple[int, int, int, int]
) -> None:
    """As near as the layers' own such products are."""
    layers, e, h, v = sizes
    config = KINDS[kind] | {"num_layers": layers, "embedding_size": e, "hidden_size": h}
    model = lively(v, **config)
    prompt = random_ids(40, v)
    engine = Engine(model, compute_dtype=torch.bfloat16)
    assert type(engine._runner) is KernelRunner
    request = Request(prompt=prompt, length=0, logprobs=v)
    (text,) = written(engine, request)
    got = torch.zeros(39, v).double()
    for row, logprob in zip(got, text.logprobs, strict=True):
        for token, log_p in logprob.top:
            row[token] = log_p
    want = log_p_of(copy.deepcopy(model).double(), prompt)
    with torch.autocast("cpu", torch.bfloat16), carousel.backend("fused"):
        layers_own = log_p_of(model, prompt)
    error, usual = (float((log_p - want).abs().max()) for log_p in (got, layers_own))
    assert 1e-3 < error < min(BOUND_BF16, 2 * usual)
    assert float((got - layers_own).abs().max()) < 2 * usual


WITHOUT = {
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "no forget gate": {"forget_gate": False},
    "layer norm": {"layer_norm": True},
    "zoneout": {"zoneout": 0.3},
    "projection": {"proj_size": 5},
    "mlp": {"model": "mlp", "context_length": 6},
    "transformer": {"model": "transformer", "context_length": 6, "embedding_size": 8},
    "learned positions": {
        "model": "transformer",
        "context_length": 40,
        "embedding_size": 8,
        "positions": "learned",
    },
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_kernel_goes_the_plain_way(name: str) -> None:
    config = {"embedding_size": 6, "hidden_size": 12, "num_layers": 2} | WITHOUT[name]
    assert_right(lively(9, **config), TorchRunner, prompts=(2, 31))


def test_numbers_in_float64_go_the_plain_way() -> None:
    assert_right(lively(9, hidden_size=12).double(), TorchRunner, prompts=(31,))


@needs_kernels
@pytest.mark.parametrize("name", ["bptt", "autograd"])
def test_who_asks_for_another_backend_gets_it(name: str) -> None:
    model = lively(9, hidden_size=12)
    with carousel.backend(name):
        assert type(Engine(model)._runner) is TorchRunner
    assert type(Engine(model)._runner) is KernelRunner
    model.body.recurrence.backend = name  # type: ignore[union-attr]
    assert type(Engine(model)._runner) is TorchRunner


@needs_kernels
def test_dropout_and_recurrent_dropout_act_in_training_alone(runner: type) -> None:
    config = {"hidden_size": 12, "recurrent_dropout": 0.4, "variational_dropout": 0.4}
    assert_right(lively(9, num_layers=2, **config), runner, prompts=(31,))


CONFIGS = [
    SamplingConfig(temperature=1.0, seed=1),
    SamplingConfig(temperature=0, repetition_penalty=1.5, repetition_window=5),
    SamplingConfig(temperature=0.7, top_k=4, seed=2**64 - 1),
    SamplingConfig(temperature=1.3, top_p=0.8, seed=2**63),
    SamplingConfig(temperature=2.0, min_p=0.1, repetition_penalty=1.2, repetition_window=64),
    SamplingConfig(temperature=0.9, repetition_penalty=0.8, repetition_window=1, top_k=10**300),
]


@each_kind
def test_the_text_is_drawn_as_ops_draw_it(kind: str, runner: type) -> None:
    """Character by character: what draws otherwise has its uniform within rounding of a boundary.

    The ids that the engine wrote are read by the model itself, in float64.
    """
    model = lively(21, num_layers=2, embedding_size=5, hidden_size=33, **KINDS[kind])
    engine = Engine(model)
    assert type(engine._runner) is runner
    double = copy.deepcopy(model).double()
    length = 100 if runner is KernelRunner else 15
    requests = [
        Request(prompt=random_ids(1 + 40 * n, 21, n), length=length, sampling=config, sample=n)
        for n, config in enumerate(CONFIGS)
    ]
    for request, text in zip(requests, written(engine, *requests), strict=True):
        assert_drawn(double, request, text)


def assert_drawn(double: LanguageModel, request: Request, text: Text) -> None:
    assert len(text.ids) == request.length
    assert text.error is None
    n, ids = len(request.prompt), [*request.prompt, *text.ids]
    config = request.sampling
    for place, row in enumerate(log_p_of(double, ids)[n - 1 :], start=n):
        recent = torch.tensor(ids[max(0, place - config.repetition_window) : place])
        p = distribution(row, present(recent, double.vocab_size), sampler_settings(config))
        u = uniform(config.seed, request.sample, place - n)
        if int(draw(p, torch.tensor(u).double())) != ids[place]:
            assert float((p.cumsum(0) - u).abs().min()) < 1e-5, (place, u)


def test_a_long_prompt_is_read_in_pieces_that_lose_nothing() -> None:
    model = Markov(5)
    prompt = random_ids(3 * CHUNK + 2, 5)
    (text,) = written(Engine(model), Request(prompt=prompt, length=0, logprobs=0))
    assert [logprob.log_p for logprob in text.logprobs] == pytest.approx(
        log_p_of(model, prompt).gather(1, torch.tensor(prompt[1:])[:, None])[:, 0].tolist()
    )
    assert all(logprob.top == [] for logprob in text.logprobs)


@needs_kernels
def test_whether_chances_are_asked_for_does_not_change_the_text() -> None:
    """Where logits differ by less than their chances can show: the same of them is likeliest."""
    model = lively(2, hidden_size=4)
    with torch.no_grad():
        model.output.weight.zero_()  # type: ignore[union-attr]
        model.output.bias.copy_(torch.tensor([0.0, 1e-20]))  # type: ignore[union-attr]
    for config in (SamplingConfig(temperature=0), SamplingConfig(temperature=1, top_k=1)):
        requests = [
            Request(prompt=[0], length=3, sampling=config, logprobs=logprobs)
            for logprobs in (None, 0)
        ]
        first, second = written(Engine(model), *requests)
        assert first.ids == second.ids
        assert math.isclose(second.logprobs[0].log_p, -math.log(2), rel_tol=1e-6)


@needs_kernels
def test_products_that_the_processor_lacks_give_way_to_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = lively(7, hidden_size=24)
    request = Request(prompt=[1, 2], length=50, logprobs=0)
    (want,) = written(Engine(model), request)
    missing = fused.unavailable_reason
    monkeypatch.setattr(
        fused, "unavailable_reason", lambda of: "none here" if of == torch.bfloat16 else missing(of)
    )
    engine = Engine(model, compute_dtype=torch.bfloat16)
    assert type(engine._runner) is KernelRunner
    (got,) = written(engine, request)
    assert (got.ids, got.logprobs) == (want.ids, want.logprobs)


def test_many_long_prompts_are_read_a_few_pieces_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an interruption need not wait for all; and a short prompt not for the long ones."""
    monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    model = lively(7)
    read: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    engine = Engine(model, rows=4)
    read.clear()
    for key in range(20):
        engine.add(key, Request(prompt=[1] * 5 * CHUNK, length=1))
    engine.add("short", Request(prompt=[1, 2, 3], length=1))
    calls = 0
    while not any(output.key == "short" and output.is_finished for output in engine.step(0.0)):
        calls += 1
        assert sum(read) <= CHUNK + 4
        read.clear()
    assert calls <= 21
