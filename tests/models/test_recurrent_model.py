"""The recurrent body in a language model: dropout, tied weights, and how it begins."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from assertions import assert_near
from carousel.models.config import ModelConfig
from carousel.models.language_model import CharacterModel, build
from carousel.models.loss import cross_entropy
from models.small_models import CONFIGS, SETTINGS, D, H, L, V, random_model
from models.streaming import results, tokens


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
    assert isinstance(model, CharacterModel)
    torch.manual_seed(4)
    ours = model(tokens())[0]
    torch.manual_seed(4)
    x = F.dropout(model.embedding(tokens()), 0.4)
    y, _ = model.body.recurrence(x)
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
    assert isinstance(model, CharacterModel)
    for name, parameter in model.body.recurrence.named_parameters():
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
    bias = build(config, V).body.recurrence.bias_ih_l0.detach()
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
        blocks = getattr(model.body.recurrence, name).detach().split(H)
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
        ModelConfig(model="mlp"),
        ModelConfig(model="mlp", num_layers=3, initialization="torch"),
        ModelConfig(model="transformer"),
        ModelConfig(model="transformer", num_layers=4, positions="learned"),
        ModelConfig(model="transformer", num_layers=4, positions="sinusoidal"),
    ],
    ids=[
        *("default", "torch", "chrono", "rnn", "gru", "deep", "tied"),
        *("mlp", "deep mlp", "transformer", "learned", "sinusoidal"),
    ],
)
def test_the_first_guess_is_nearly_uniform(config: ModelConfig, vocab_size: int) -> None:
    torch.manual_seed(0)
    model = build(config, vocab_size)
    text = torch.randint(vocab_size, (8, 65))
    loss = cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean().item()
    assert loss == pytest.approx(math.log(vocab_size), rel=0.1)
