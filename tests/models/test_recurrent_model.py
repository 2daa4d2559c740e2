"""The recurrent language model: the streaming law, tied weights, and how it begins."""

import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig
from carousel.models.loss import cross_entropy
from carousel.models.recurrent import RecurrentLanguageModel, build
from closeness import assert_near
from models.small_models import CONFIGS, SETTINGS, D, H, L, V, random_model

T, B = 9, 3
kinds = pytest.mark.parametrize("kind", CONFIGS)


def tokens(batch: int = B, length: int = T) -> Tensor:
    return torch.randint(V, (batch, length), generator=torch.Generator().manual_seed(1))


def random_state(model: LanguageModel, batch: int = B) -> State:
    generator = torch.Generator().manual_seed(2)
    return tuple(
        torch.randn(s.shape, generator=generator, dtype=s.dtype) for s in model.initial_state(batch)
    )


def results(
    model: LanguageModel, logits: Tensor, last: State, start: State | None
) -> dict[str, Tensor]:
    """Logits, last state, and the gradients of a random weighted sum of both."""
    generator = torch.Generator().manual_seed(3)
    outputs = {"logits": logits} | {f"state.{k}": s for k, s in enumerate(last)}
    loss = torch.stack(
        [(torch.randn(o.shape, generator=generator).double() * o).sum() for o in outputs.values()]
    ).sum()
    inputs = dict(model.named_parameters())
    inputs |= {f"start.{k}": s for k, s in enumerate(start or ()) if s.requires_grad}
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    return outputs | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def in_pieces(
    model: LanguageModel, text: Tensor, state: State | None, cuts: list[int]
) -> tuple[Tensor, State]:
    """Run each piece of the text on the state that the one before left."""
    pieces = []
    for piece in text.tensor_split(cuts, dim=1):
        if piece.shape[1]:
            logits, state = model(piece, state)
            pieces.append(logits)
    assert state is not None
    return torch.cat(pieces, dim=1), state


# The streaming law.


@kinds
@pytest.mark.parametrize("given_state", [True, False], ids=["from a state", "from none"])
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, T - 1), max_size=T).map(sorted))
def test_a_text_in_pieces_is_the_whole(kind: str, given_state: bool, cuts: list[int]) -> None:
    model = random_model(CONFIGS[kind])
    start = random_state(model) if given_state else None
    for s in start or ():
        s.requires_grad_()
    whole = results(model, *model(tokens(), start), start)
    pieces = results(model, *in_pieces(model, tokens(), start, cuts), start)
    assert_near(pieces, whole)


@kinds
def test_one_character_at_a_time_is_the_whole(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    start = random_state(model)
    whole = results(model, *model(tokens(), start), start)
    assert_near(results(model, *in_pieces(model, tokens(), start, list(range(1, T))), start), whole)


@kinds
def test_a_row_of_a_batch_is_the_text_alone(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    text, start = tokens(), random_state(model)
    rows = [model(text[b : b + 1], tuple(s[:, b : b + 1] for s in start)) for b in range(B)]
    logits = torch.cat([logits for logits, _ in rows])
    last = tuple(torch.cat(parts, dim=1) for parts in zip(*(s for _, s in rows), strict=True))
    assert_near(results(model, logits, last, start), results(model, *model(text, start), start))


@kinds
def test_no_state_is_the_initial_state(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    none = results(model, *model(tokens()), None)
    initial = results(model, *model(tokens(), model.initial_state(B)), None)
    assert_near(initial, none, tolerance=0.0)


@kinds
def test_logits_depend_on_all_of_the_past_and_none_of_the_future(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    text, t = tokens(batch=1), 4
    for changed in range(T):
        other = text.clone()
        other[0, changed] = (other[0, changed] + 1) % V
        same = torch.equal(model(other)[0][0, t], model(text)[0][0, t])
        assert same == (changed > t), f"character {changed} and the logits at {t}"


def test_dropout_acts_in_training_only() -> None:
    model = random_model(CONFIGS["two layers"])
    once = model(tokens())[0]
    torch.testing.assert_close(model(tokens())[0], once, rtol=0, atol=0)
    model.train()
    assert not torch.equal(model(tokens())[0], once)


def test_one_layer_with_dropout_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(ModelConfig(num_layers=1, dropout=0.5, embedding_size=D, hidden_size=H), V)


def test_dropout_acts_on_input_and_output_too() -> None:
    """Written out: with one layer there is nothing between layers, and dropout must still act."""
    config = ModelConfig(embedding_size=D, hidden_size=H, num_layers=1, dropout=0.4)
    model = random_model(config).train()
    assert isinstance(model, RecurrentLanguageModel)
    torch.manual_seed(4)
    ours = model(tokens())[0]
    torch.manual_seed(4)
    x = F.dropout(model.embedding(tokens()), 0.4)
    y, _ = model.recurrence(x)
    torch.testing.assert_close(ours, model.output(F.dropout(y, 0.4)))


# Tied weights.


def test_tied_weights_are_one_matrix_whose_gradient_collects_both_uses() -> None:
    tied = random_model(CONFIGS["tied"])
    untied = random_model(ModelConfig(**{**SETTINGS["tied"], "tie_weights": False}))
    weights = tied.state_dict()
    untied.load_state_dict(weights | {"output.weight": weights["embedding.weight"]})
    ours, theirs = (results(m, *m(tokens()), None) for m in (tied, untied))
    theirs["dembedding.weight"] = theirs["dembedding.weight"] + theirs.pop("doutput.weight")
    assert_near(ours, theirs)


# How it begins.


def test_torch_initialisation_is_that_of_torchs_layers() -> None:
    torch.manual_seed(5)
    theirs = [nn.Embedding(V, D), nn.LSTM(D, H, L), nn.Linear(H, V)]
    torch.manual_seed(5)
    config = ModelConfig(
        embedding_size=D, hidden_size=H, num_layers=L, initialization="torch", forget_bias=3.0
    )
    ours = build(config, V)
    for got, want in zip(
        ours.parameters(), [p for layer in theirs for p in layer.parameters()], strict=True
    ):
        assert torch.equal(got, want)


def test_orthogonal_initialisation() -> None:
    torch.manual_seed(0)
    config = ModelConfig(embedding_size=D, hidden_size=H, num_layers=L, forget_bias=1.5)
    model = build(config, 30)
    assert isinstance(model, RecurrentLanguageModel)
    for name, parameter in model.recurrence.named_parameters():
        i, f, g, o = parameter.detach().chunk(4)
        if name.startswith("weight_hh"):
            for gate in (i, f, g, o):
                torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=1e-5, rtol=0)
        elif name.startswith("weight_ih"):
            bound = math.sqrt(6 / (parameter.shape[1] + H))  # Glorot and Bengio 2010, eq. 16
            assert (parameter.abs() <= bound).all()
            assert parameter.abs().max() > 0.8 * bound
        else:
            assert (torch.cat([i, g, o]) == 0).all()
            assert (f == (1.5 if name.startswith("bias_ih") else 0.0)).all()
    assert (model.output.bias == 0).all()
    assert model.output.weight.std().item() == pytest.approx(0.5 * H**-0.5, rel=0.2)
    assert model.embedding.weight.std().item() == pytest.approx(D**-0.5, rel=0.2)


@pytest.mark.parametrize("model", ["lstm", "gru", "coupled"])
def test_chrono_spreads_the_memory_of_the_units(model: str) -> None:
    """1/(1 - σ(b)) - 1 = eᵇ is uniform on [1, longest - 1]."""
    torch.manual_seed(0)
    config = ModelConfig(
        **{"coupled": {"coupled": True}}.get(model, {"model": model}),
        initialization="chrono",
        longest_memory=100,
        hidden_size=400,
    )
    bias = build(config, V).recurrence.bias_ih_l0.detach()
    if model == "gru":
        r, keeps, n = bias.chunk(3)
        rest = torch.cat([r, n])
    elif model == "coupled":
        i, *others = bias.chunk(3)
        keeps, rest = -i, torch.cat(others)
    else:
        i, keeps, *others = bias.chunk(4)
        assert torch.equal(i, -keeps)
        rest = torch.cat(others)
    assert (rest == 0).all()
    assert keeps.exp().min() >= 1
    assert keeps.exp().max() <= 99
    assert keeps.exp().mean().item() == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "gate", "value"),
    [({"model": "gru"}, 1, 1.5), ({"coupled": True}, 0, -1.5), ({}, 1, 1.5)],
)
def test_forget_bias_is_that_of_the_gate_that_keeps(
    settings: dict[str, Any], gate: int, value: float
) -> None:
    config = ModelConfig(**settings, forget_bias=1.5, hidden_size=H)
    model = build(config, V)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        blocks = getattr(model.recurrence, name).detach().chunk(config.gates)
        for k, block in enumerate(blocks):
            assert (block == (value if k == gate and name == "bias_ih_l0" else 0.0)).all()


@pytest.mark.parametrize("vocab_size", [30, 90])
@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(initialization="torch"),
        ModelConfig(initialization="chrono"),
        ModelConfig(model="rnn"),
        ModelConfig(model="gru"),
        ModelConfig(num_layers=3, hidden_size=128, forget_bias=1.0),
        ModelConfig(embedding_size=128, hidden_size=128, tie_weights=True),
    ],
    ids=["default", "torch", "chrono", "rnn", "gru", "deep", "tied"],
)
def test_the_first_guess_is_nearly_uniform(config: ModelConfig, vocab_size: int) -> None:
    torch.manual_seed(0)
    model = build(config, vocab_size)
    text = torch.randint(vocab_size, (8, 65))
    loss = cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean().item()
    assert loss == pytest.approx(math.log(vocab_size), rel=0.1)
