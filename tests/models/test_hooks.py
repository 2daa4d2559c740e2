"""Hooks on the parts of a model fire, and see what they would see in a model of torch's layers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from assertions import assert_near
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.decoder_weights import decoder_weights
from carousel.models.sequence import SequenceModel
from carousel.nn.embedding_input import TokenInput
from models.small_models import CONFIGS, random_model

B, T, V = 3, 9, 7
IDS = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
RECURRENT = [name for name, config in CONFIGS.items() if config.model in ("rnn", "gru", "lstm")]
each_model = pytest.mark.parametrize("name", CONFIGS)
each_recurrent = pytest.mark.parametrize("name", RECURRENT)


def owners(model: nn.Module) -> set[str]:
    """The modules that have parameters of their own, or hold one that has."""
    return {name for name, part in model.named_modules() if any(True for _ in part.parameters())}


def fired(model: nn.Module, inputs: Tensor) -> set[str]:
    names: set[str] = set()
    for name, part in model.named_modules():
        part.register_forward_hook(lambda *_, name=name: names.add(name))
    model(inputs)
    return names


@each_model
def test_every_part_of_a_language_model_fires(name: str) -> None:
    model = random_model(CONFIGS[name])
    lists = {key for key, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    assert owners(model) - lists - fired(model, IDS) == set()


@pytest.mark.parametrize("family", ["rnn", "gru", "lstm", "mlp", "transformer"])
@pytest.mark.parametrize("reads", ["ids", "features"])
def test_every_part_of_a_sequence_model_fires(family: Any, reads: str) -> None:
    sizes: dict[str, Any] = {"vocab_size": V} if reads == "ids" else {"input_size": 2}
    config = ModelConfig(model=family, embedding_size=8, hidden_size=8)
    model = SequenceModel(config, **sizes, output_size=2)
    lists = {key for key, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    inputs = IDS if reads == "ids" else torch.randn(B, T, 2)
    assert owners(model) - lists - fired(model, inputs) == set()


@each_recurrent
def test_hooks_of_all_modules_see_the_short_cut(name: str) -> None:
    """The recurrence reads ids itself; the embedding's rows are read without a call of it."""
    model, seen = random_model(CONFIGS[name]), {}
    want, _ = model(IDS)
    handle = register_module_forward_hook(lambda part, given, y: seen.update({part: given}))
    try:
        got, _ = model(IDS)
    finally:
        handle.remove()
    assert torch.equal(got, want)
    assert isinstance(seen[model.body.recurrence][0], TokenInput)
    assert {part for part in model.modules() if list(part.parameters(recurse=False))} - set(
        seen
    ) == {model.embedding}


@each_recurrent
def test_hooks_of_the_recurrence_see_features_outputs_and_states(name: str) -> None:
    model, seen = random_model(CONFIGS[name]), {}
    want, state = model(IDS)
    layer = model.body.recurrence
    layer.register_forward_pre_hook(lambda _, given: seen.update(pre=given))
    layer.register_forward_hook(lambda _, given, y: seen.update(given=given, y=y))
    layer.register_full_backward_hook(lambda _, dx, dy: seen.update(dx=dx, dy=dy))
    got, _ = model(IDS)
    got.square().sum().backward()  # type: ignore[no-untyped-call]
    assert_near({"logits": got}, {"logits": want})
    features = model.embedding(IDS)
    assert torch.equal(seen["pre"][0], features)
    assert torch.equal(seen["given"][0], features)
    y, last = seen["y"]
    last = last if isinstance(last, tuple) else (last,)
    assert y.shape == (B, T, model.config.output_size)
    assert_near(dict(enumerate(last)), dict(enumerate(state)))
    assert seen["dx"][0].shape == features.shape
    assert seen["dy"][0].shape == y.shape


def changed(model: LanguageModel, part: nn.Module) -> Tensor:
    """Logits with a hook that doubles what comes first of what a part returns."""

    def double(_: nn.Module, given: Any, y: Any) -> Any:
        return (2 * y[0], *y[1:]) if isinstance(y, tuple) else 2 * y

    handle = part.register_forward_hook(double)
    logits: Tensor = model(IDS)[0]
    handle.remove()
    return logits


@pytest.mark.parametrize("name", ["two layers", "gru", "rnn", "tied"])
def test_what_a_hook_changes_counts(name: str) -> None:
    model = random_model(CONFIGS[name])
    y = model.body.recurrence(model.embedding(IDS))[0]
    assert_near(
        {"of the recurrence": changed(model, model.body.recurrence)},
        {"of the recurrence": by_output(model, 2 * y)},
    )
    twice = model.body.recurrence(2 * model.embedding(IDS))[0]
    assert_near(
        {"of the embedding": changed(model, model.embedding)},
        {"of the embedding": by_output(model, twice)},
    )
    assert_near(
        {"of the output": changed(model, model.output)},
        {"of the output": 2 * by_output(model, y)},
    )


def by_output(model: LanguageModel, y: Tensor) -> Tensor:
    weight = model.embedding.weight if model.config.tie_weights else model.output.weight
    return y @ weight.T + model.output.bias


def test_a_layer_of_torchs_may_stand_in_the_place_of_the_recurrence() -> None:
    model = random_model(CONFIGS["two layers"])
    want, _ = model(IDS)
    config = model.config
    sizes = (config.embedding_size, config.hidden_size, config.num_layers)
    theirs = nn.LSTM(*sizes, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(model.body.recurrence.state_dict())
    model.body.recurrence = theirs
    assert_near({"logits": model(IDS)[0]}, {"logits": want})
    assert decoder_weights(model) is None


@pytest.mark.parametrize("part", ["embedding", "body", "body.recurrence", "output", ""])
def test_no_kernel_writes_for_a_model_with_hooks(part: str) -> None:
    model = random_model(CONFIGS["one layer"])
    assert decoder_weights(model) is not None
    handle = model.get_submodule(part).register_forward_hook(lambda *_: None)
    assert decoder_weights(model) is None
    handle.remove()
    assert decoder_weights(model) is not None
