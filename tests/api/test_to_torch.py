"""to_torch: the same weights in modules of torch.nn compute what the model computes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from carousel.errors import ConfigError
from carousel.interop.to_torch import LACKING, to_torch
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.language_model import build

V = 11
SIZES = {"embedding_size": 6, "hidden_size": 10}
RECURRENT = ModelConfig(**SIZES)
TRANSFORMER = ModelConfig(
    model="transformer", embedding_size=8, hidden_size=12, num_heads=2, context_length=5
)
CONVERTED = {
    "rnn": ModelConfig(model="rnn", **SIZES),
    "rnn relu": ModelConfig(model="rnn", nonlinearity="relu", num_layers=2, **SIZES),
    "gru": ModelConfig(model="gru", num_layers=2, **SIZES),
    "lstm": replace(RECURRENT, num_layers=3),
    "lstm projected": replace(RECURRENT, proj_size=4, num_layers=2),
    "lstm tied": replace(RECURRENT, embedding_size=10, tie_weights=True),
    "mlp": ModelConfig(model="mlp", embedding_size=6, hidden_size=10, context_length=4),
    "mlp of one character": ModelConfig(
        model="mlp", embedding_size=6, hidden_size=10, context_length=1, num_layers=2
    ),
    "transformer": replace(TRANSFORMER, num_layers=2),
    "transformer without positions": replace(TRANSFORMER, positions="none"),
    "transformer learned": replace(TRANSFORMER, positions="learned", context_length=20),
    "transformer sinusoidal": replace(TRANSFORMER, positions="sinusoidal", context_length=20),
}


def make(config: ModelConfig) -> LanguageModel:
    """A model in double precision with large weights, biases and gains among them."""
    torch.manual_seed(1)
    model = build(config, V).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("config", CONVERTED.values(), ids=CONVERTED)
def test_logits_gradients_and_streams_are_those_of_the_model(config: ModelConfig) -> None:
    model = make(config)
    twin = to_torch(model)
    tokens = torch.randint(V, (3, 17))
    expected, _ = model(tokens)
    found, _ = twin(tokens)
    close(found, expected)
    first, state = twin(tokens[:, :9])  # longer than the context of most
    rest = []
    for step in range(9, 17):
        logits, state = twin(tokens[:, step : step + 1], state)
        rest.append(logits)
    close(torch.cat([first, *rest], dim=1), expected)
    for module, logits in ((model, expected), (twin, found)):
        module.zero_grad()
        logits.square().mean().backward()
    ours = {name.removeprefix("body."): p.grad for name, p in model.named_parameters()}
    theirs = {name: p.grad for name, p in twin.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        close(theirs[name], gradient)


def close(found: Tensor | None, expected: Tensor | None) -> None:
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-8)


def test_weights_are_a_copy() -> None:
    model = make(CONVERTED["lstm"])
    twin = to_torch(model)
    before = twin.output.weight.clone()
    with torch.no_grad():
        model.output.weight.zero_()
    assert torch.equal(twin.output.weight, before)


def test_modules_are_torchs_and_in_the_mode_of_the_model() -> None:
    model = make(CONVERTED["lstm"])
    twin = to_torch(model)
    assert type(twin.recurrence) is nn.LSTM
    assert type(twin.embedding) is nn.Embedding
    assert type(twin.output) is nn.Linear
    assert not twin.training
    assert to_torch(model.train()).training
    kinds = {type(m).__module__.split(".")[0] for m in twin.modules() if m is not twin}
    assert kinds == {"torch"}


def test_dropout_comes_along() -> None:
    model = make(replace(RECURRENT, dropout=0.3, num_layers=2)).train()
    twin = to_torch(model)
    assert (twin.dropout.p, twin.recurrence.dropout) == (0.3, 0.3)


def test_a_tied_matrix_stays_one() -> None:
    twin = to_torch(make(CONVERTED["lstm tied"]))
    assert twin.output.weight is twin.embedding.weight


REFUSED = {
    "reset_after": ModelConfig(model="gru", reset_after=False, **SIZES),
    "peephole": replace(RECURRENT, peephole=True),
    "coupled": replace(RECURRENT, coupled=True),
    "forget_gate": replace(RECURRENT, forget_gate=False),
    "layer_norm": replace(RECURRENT, layer_norm=True),
    "zoneout": replace(RECURRENT, zoneout=0.1),
    "recurrent_dropout": replace(RECURRENT, recurrent_dropout=0.1),
    "variational_dropout": replace(RECURRENT, variational_dropout=0.1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_lacks_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^to_torch: torch\.nn has no {name} = \S+$"):
        to_torch(build(REFUSED[name], V))


def test_every_option_that_torch_lacks_has_a_case() -> None:
    assert REFUSED.keys() == LACKING.keys()


def test_positions_end_for_the_twin_too() -> None:
    twin = to_torch(make(CONVERTED["transformer learned"]))
    with pytest.raises(ConfigError, match="learned positions end after 20 characters"):
        twin(torch.zeros(1, 21, dtype=torch.int64))
