"""The recurrent language model reads its ids by a table, and is the model that it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from assertions import assert_near
from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.models.loss import cross_entropy
from carousel.nn import recurrent_layer

B, T, V, D, H, L = 3, 9, 7, 4, 6, 2  # fewer characters than places
SIZES: dict[str, Any] = {"embedding_size": D, "hidden_size": H, "num_layers": L}
SETTINGS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"model": "gru"},
    "gru reset before": {"model": "gru", "reset_after": False},
    "rnn": {"model": "rnn"},
    "rnn relu": {"model": "rnn", "nonlinearity": "relu"},
    "layer norm": {"layer_norm": True},
    "peepholes, projected": {"peephole": True, "proj_size": 5},
    "coupled": {"coupled": True},
    "1997": {"forget_gate": False},
    "tied": {"embedding_size": H, "tie_weights": True},
    "zoneout": {"zoneout": 0.2, "recurrent_dropout": 0.3},
    "dropout": {"dropout": 0.4},
    "variational dropout": {"variational_dropout": 0.4},
}
CONFIGS = {name: ModelConfig(**{**SIZES, **settings}) for name, settings in SETTINGS.items()}
DROPS_FEATURES = {"dropout", "variational dropout"}
kinds = pytest.mark.parametrize("kind", CONFIGS)


@contextmanager
def by_features() -> Iterator[None]:
    """Make no table: the model as it would be without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_layer, "is_quicker_by_table", lambda *_, **__: False)
        yield


def model_of(kind: str) -> LanguageModel:
    torch.manual_seed(0)
    model = build(CONFIGS[kind], V).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def tokens(length: int = T) -> Tensor:
    return torch.randint(V, (B, length), generator=torch.Generator().manual_seed(1))


def results(model: LanguageModel, text: Tensor, state: State) -> dict[str, Tensor]:
    """Logits, last state and the gradients of all parameters and of the first state."""
    torch.manual_seed(3)  # of what is dropped
    logits, last = model(text, state)
    outputs = {"logits": logits} | {f"state {k}": part for k, part in enumerate(last)}
    wanted = dict(model.named_parameters()) | {f"first {k}": part for k, part in enumerate(state)}
    generator = torch.Generator().manual_seed(4)
    weights = [torch.randn(o.shape, generator=generator).to(o) for o in outputs.values()]
    gradients = torch.autograd.grad(list(outputs.values()), list(wanted.values()), weights)
    return outputs | {f"d{name}": d for name, d in zip(wanted, gradients, strict=True)}


def random_state(model: LanguageModel) -> State:
    generator = torch.Generator().manual_seed(2)
    parts = model.initial_state(B)
    return tuple(
        torch.randn(part.shape, generator=generator).to(part).requires_grad_() for part in parts
    )


@kinds
@pytest.mark.parametrize("is_training", [False, True], ids=["evaluated", "trained"])
def test_logits_states_and_gradients_are_those_by_features(kind: str, is_training: bool) -> None:
    model = model_of(kind).train(is_training)
    state = random_state(model)
    got = results(model, tokens(), state)
    with by_features():
        want = results(model, tokens(), state)
    is_same_way = is_training and kind in DROPS_FEATURES
    assert_near(got, want, 0.0 if is_same_way else None)


@kinds
@pytest.mark.parametrize("is_training", [False, True], ids=["evaluated", "trained"])
def test_the_table_is_made_unless_features_are_dropped(kind: str, is_training: bool) -> None:
    model = model_of(kind).train(is_training)
    with FlopCounterMode(display=False) as counted:
        model(tokens())
    with by_features(), FlopCounterMode(display=False) as counted_by_features:
        model(tokens())
    saved = counted_by_features.get_total_flops() - counted.get_total_flops()
    config = CONFIGS[kind]
    rows = len(model.body.recurrence.weight_ih_l0)
    product = 2 * config.embedding_size * rows
    is_by_features = is_training and kind in DROPS_FEATURES
    assert saved == (0 if is_by_features else (B * T - (1 + V)) * product)


@kinds
def test_a_text_read_by_a_table_goes_on_character_by_character_without(kind: str) -> None:
    model = model_of(kind).eval()
    whole, last = model(tokens())
    logits, state = model(tokens()[:, :-3])
    pieces = [logits]
    for t in (-3, -2, -1):
        logits, state = model(tokens()[:, t, None], state)
        pieces.append(logits)
    got = {"logits": torch.cat(pieces, 1)} | {f"state {k}": s for k, s in enumerate(state)}
    assert_near(got, {"logits": whole} | {f"state {k}": s for k, s in enumerate(last)})


def losses(kind: str, steps: int) -> Tensor:
    """The loss at each step of a training."""
    model = model_of(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    text, found = tokens(T + 1), []
    for _ in range(steps):
        loss = cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return torch.stack(found)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "layer norm", "zoneout", "dropout"])
def test_a_training_takes_the_same_course(kind: str) -> None:
    """In double precision: Adam magnifies what is nothing but rounding."""
    got = losses(kind, 20)
    assert got[-5:].mean() < 0.95 * got[:5].mean()
    with by_features():
        want = losses(kind, 20)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=0)
    if kind in DROPS_FEATURES:  # both go by the features: the same products
        assert torch.equal(got, want)


def test_a_training_repeats_itself_bit_by_bit_in_threads() -> None:
    """Large enough for torch to share the sums among threads."""
    torch.manual_seed(0)
    model = build(ModelConfig(embedding_size=16, hidden_size=64), 30)
    text = torch.randint(30, (32, 33))
    threads, found = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        for _ in range(4):
            loss = cross_entropy(model(text[:, :-1])[0], text[:, 1:]).mean()
            found.append(torch.autograd.grad(loss, list(model.parameters())))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found for a, b in zip(other, found[0], strict=True))
