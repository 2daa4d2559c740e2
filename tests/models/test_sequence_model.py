"""Sequences in, one answer or one at every position out, by every family."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from assertions import assert_near
from carousel.errors import ConfigError
from carousel.kernels import fused
from carousel.models.backbone import check_inputs
from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel, _check
from carousel.models.size import num_parameters
from carousel.nn.transformer import TransformerBlock
from models.small_models import CONFIGS, V
from models.streaming import (
    B,
    T,
    after_a_past,
    each_row_alone,
    in_pieces,
    results,
    tokens,
)

FEATURES, ANSWERS = 2, 3
FAMILIES = {
    "rnn": CONFIGS["rnn"],
    "gru": CONFIGS["gru"],
    "lstm": CONFIGS["two layers"],
    "mlp": CONFIGS["mlp, two layers"],
    "transformer": CONFIGS["transformer"],
    "learned": CONFIGS["learned positions"],
}
INPUTS = ("ids", "features")
families = pytest.mark.parametrize("family", FAMILIES)
inputs = pytest.mark.parametrize("kind", INPUTS)


def random_model(family: str, kind: str, **choice: Any) -> SequenceModel:
    """In float64 and evaluation mode, its parameters nowhere near a special value."""
    torch.manual_seed(0)
    size = {"vocab_size": V} if kind == "ids" else {"input_size": FEATURES}
    model = SequenceModel(FAMILIES[family], **size, output_size=ANSWERS, **choice).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def batch(kind: str, seed: int = 1) -> Tensor:
    if kind == "ids":
        return tokens(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, T, FEATURES, generator=generator, dtype=torch.float64)


@families
@inputs
def test_the_last_answer_is_that_of_the_last_position(family: str, kind: str) -> None:
    every = random_model(family, kind, supervision="every")
    last = random_model(family, kind)
    assert last.supervision == "last"
    answers, state = every(batch(kind))
    answer, same = last(batch(kind))
    assert (answers.shape, answer.shape) == ((B, T, ANSWERS), (B, ANSWERS))
    assert_near({"answer": answer}, {"answer": answers[:, -1]})  # of products of other shapes
    assert all(map(torch.equal, state, same))
    assert len({tuple(a) for a in answers[0].tolist()}) == T  # no two positions alike


@families
@inputs
def test_supervision_of_the_last_step_is_a_loss_masked_to_it(family: str, kind: str) -> None:
    """Outputs and every gradient: nothing of the other positions enters."""
    found = []
    for supervision in ("last", "every"):
        model = random_model(family, kind, supervision=supervision)
        answers, _ = model(batch(kind))
        losses = answers.square().sum(-1)
        mask = torch.zeros(B, T, dtype=torch.float64)
        mask[:, -1] = 1
        loss = losses.sum() if supervision == "last" else (mask * losses).sum()
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        found.append({"loss": loss} | dict(zip(names, gradients, strict=True)))
    assert_near(*found)


@families
@inputs
def test_a_sequence_in_pieces_is_the_whole(family: str, kind: str) -> None:
    model = random_model(family, kind, supervision="every")
    for start in (None, after_a_past(model, batch(kind, seed=2))):
        whole = results(model, *model(batch(kind), start), start)
        for cuts in ([4], list(range(1, T))):
            pieces = in_pieces(model, batch(kind), start, cuts)
            assert_near(results(model, *pieces, start), whole)
        if start is not None:
            alone = each_row_alone(model, batch(kind), start)
            assert_near(results(model, *alone, start), whole)


@families
@inputs
def test_the_last_answer_of_a_stream_is_that_of_the_whole(family: str, kind: str) -> None:
    model = random_model(family, kind)
    _, state = model(batch(kind)[:, :5])
    got, _ = model(batch(kind)[:, 5:], state)
    assert_near({"answer": got}, {"answer": model(batch(kind))[0]})


@families
@inputs
@pytest.mark.parametrize("initialization", ["orthogonal", "torch"])
def test_every_parameter_learns_from_the_first_step_on(
    family: str, kind: str, initialization: str
) -> None:
    config = ModelConfig(**{**vars(FAMILIES[family]), "initialization": initialization})
    size = {"vocab_size": V} if kind == "ids" else {"input_size": FEATURES}
    torch.manual_seed(0)
    model = SequenceModel(config, **size, output_size=ANSWERS)
    answer, _ = model(batch(kind).float() if kind == "features" else batch(kind))
    answer.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.norm() > 0, name


def test_a_config_of_any_family_counts_what_it_builds_but_for_the_answers() -> None:
    for config in FAMILIES.values():
        model = SequenceModel(config, vocab_size=V, output_size=V)
        assert sum(p.numel() for p in model.parameters()) == num_parameters(config, V)
        assert model.max_length == config.max_length


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "^inputs are tokens or vectors: give vocab_size or input_size, one of two$"),
        ({"vocab_size": 3, "input_size": 3}, "give vocab_size or input_size, one of two"),
        ({"vocab_size": 0}, "^vocab_size must be at least 1, got 0$"),
        ({"input_size": -1}, "^input_size must be at least 1, got -1$"),
        ({"input_size": 1, "output_size": 0}, "^output_size must be at least 1, got 0$"),
        (
            {
                "input_size": 1,
                "config": ModelConfig(embedding_size=6, hidden_size=6, tie_weights=True),
            },
            "^tie_weights is for language models: here outputs are no tokens$",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(choice: dict[str, Any], message: str) -> None:
    config = choice.pop("config", ModelConfig())
    with pytest.raises(ConfigError, match=message):
        SequenceModel(config, **{"output_size": 2, **choice})


def test_another_supervision_is_refused() -> None:
    """Asked of the check itself: in the tests the type in the signature is met before it."""
    with pytest.raises(ConfigError, match=r"^supervision must be last or every, got 'first'$"):
        _check(ModelConfig(), None, 1, 1, "first")


def test_learned_positions_end_here_too() -> None:
    model = random_model("learned", "features")
    with pytest.raises(ConfigError, match="learned positions end after 20 characters"):
        model(torch.zeros(1, 21, FEATURES, dtype=torch.float64))


@families
@inputs
def test_under_autocast_the_sums_stay_in_single_precision(family: str, kind: str) -> None:
    """What is added to: state and body; products, and so the answers, are in bfloat16.

    A kernel's outputs too: they are added to nothing, and the next product reads them so anyway.
    """
    model = random_model(family, kind).float()
    x = batch(kind) if kind == "ids" else batch(kind).float()
    seen: list[Tensor] = []
    model.body.register_forward_hook(lambda module, args, out: seen.append(out[0]))
    for module in model.modules():
        if isinstance(module, TransformerBlock):  # also between its layers
            module.register_forward_hook(lambda module, args, out: seen.append(out[0]))
    want, _ = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        answer, state = model(x)
    is_fused = family in ("rnn", "gru", "lstm") and fused.unavailable_reason(torch.bfloat16) is None
    assert {part.dtype for part in seen[: len(seen) // 2]} == {torch.float32}  # without autocast
    assert {part.dtype for part in seen[len(seen) // 2 :]} == {
        torch.bfloat16 if is_fused else torch.float32
    }
    assert [s.dtype for s in state] == [s.dtype for s in model.initial_state(B)]
    assert answer.dtype == torch.bfloat16
    assert 0 < (answer.float() - want).norm() / want.norm() < 0.1


@pytest.mark.parametrize("kind", INPUTS)
def test_under_autocast_a_cell_adds_up_what_bfloat16_would_lose(kind: str) -> None:
    """Gates open, 1/512 a step: in bfloat16 the sum would stay at 1/2, whose next is 1/256 on."""
    size = {"vocab_size": V} if kind == "ids" else {"input_size": FEATURES}
    model = SequenceModel(CONFIGS["one layer"], **size, output_size=ANSWERS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        i, f, g, _ = dict(model.named_parameters())["body.recurrence.bias_ih_l0"].chunk(4)
        i.fill_(20.0)
        f.fill_(20.0)
        g.fill_(torch.tensor(1 / 512).atanh())
    x = torch.zeros((1, 512), dtype=torch.int64) if kind == "ids" else torch.zeros(1, 512, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        _, (_, c) = model(x)
    assert c.dtype == torch.float32
    assert_near({"c": c}, {"c": torch.ones_like(c)}, 1e-2)


# They learn.

LENGTH = 6
SIZES = {"embedding_size": 16, "hidden_size": 32}
LEARNERS = {
    "rnn": ModelConfig(model="rnn", **SIZES),
    "gru": ModelConfig(model="gru", **SIZES),
    "lstm": ModelConfig(model="lstm", **SIZES),
    "mlp": ModelConfig(model="mlp", context_length=LENGTH, **SIZES),
    "transformer": ModelConfig(model="transformer", context_length=LENGTH, num_heads=2, **SIZES),
}
learners = pytest.mark.parametrize("family", LEARNERS)


def fitted(model: SequenceModel, x: Tensor, wanted: Tensor, loss: Any, steps: int) -> SequenceModel:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x)[0], wanted).backward()
        optimizer.step()
    return model


@families
def test_inputs_of_other_axes_are_refused_in_a_sentence(family: str) -> None:
    config = FAMILIES[family]
    numbers = SequenceModel(config, input_size=FEATURES, output_size=ANSWERS)
    ids = SequenceModel(config, vocab_size=V, output_size=ANSWERS)
    x = torch.zeros(B, T, FEATURES)
    with pytest.raises(ValueError, match=r"of shape \(B, T, 2\), got \(\d+, \d+, 3\)"):
        numbers(F.pad(x, (0, 1)))
    with pytest.raises(ValueError, match=r"features must be of shape \(B, T, 2\), got \(\d+, 2\)"):
        numbers(x[0])
    with pytest.raises(ValueError, match=r"ids must be of shape \(B, T\), got \(\d+,\)"):
        ids(tokens()[0])
    packed = torch.nn.utils.rnn.pack_sequence([x[0]])
    with pytest.raises(TypeError, match="inputs must be a tensor, got PackedSequence"):
        check_inputs(packed, FEATURES)


@learners
def test_which_of_two_symbols_came_first_is_learned(family: str) -> None:
    """Blanks but for one 1 and one 2: nothing but their order tells. A guess is right by half."""
    pairs = [(a, b) for a, b in product(range(LENGTH), repeat=2) if a != b]
    x = torch.zeros(len(pairs), LENGTH, dtype=torch.int64)
    for row, (a, b) in enumerate(pairs):
        x[row, a], x[row, b] = 1, 2
    wanted = torch.tensor([int(a < b) for a, b in pairs])
    torch.manual_seed(0)
    model = SequenceModel(LEARNERS[family], vocab_size=3, output_size=2)
    fitted(model, x, wanted, F.cross_entropy, 80)
    assert F.cross_entropy(model(x)[0], wanted) < 0.1
    assert torch.equal(model(x)[0].argmax(-1), wanted)


@learners
def test_a_difference_of_first_and_last_is_learned(family: str) -> None:
    """Regression, judged on sequences that it has not seen; a constant guess errs by 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(600, LENGTH, 1, generator=generator)
    wanted = (x[:, 0] - x[:, -1]) / (1 / 6) ** 0.5  # of variance 1
    torch.manual_seed(0)
    model = SequenceModel(LEARNERS[family], input_size=1, output_size=1)
    fitted(model, x[:300], wanted[:300], F.mse_loss, 120)
    assert F.mse_loss(model(x[300:])[0], wanted[300:]) < 0.05
