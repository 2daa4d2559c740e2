"""What a model may be."""

import subprocess
import sys
from typing import Any

import pytest

from carousel.errors import ConfigError
from carousel.models.config import CONFIGS, ModelConfig, model_config
from carousel.models.language_model import build
from carousel.models.size import Size, num_parameters, size_of
from models.small_models import CONFIGS as MODELS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"embedding_size": 0},
            "embedding_size must be a whole number, at least 1, at most 1,048,576, got 0",
        ),
        (
            {"hidden_size": -3},
            "hidden_size must be a whole number, at least 1, at most 1,048,576, got -3",
        ),
        ({"num_layers": 0}, "num_layers must be a whole number, at least 1, at most 1,000, got 0"),
        ({"dropout": 1.0}, r"dropout must be a finite number, at least 0, below 1, got 1.0"),
        (
            {"dropout": float("nan")},
            r"dropout must be a finite number, at least 0, below 1, got nan",
        ),
        (
            {"forget_bias": float("inf")},
            r"forget_bias must be a finite number, at least -100, at most 100, got inf",
        ),
        (
            {"tie_weights": True},
            "tie_weights needs embedding_size = .*, got 64 and 256",
        ),
        ({"tie_weights": True, "embedding_size": 256, "proj_size": 64}, "got 256 and 64"),
        ({"proj_size": 256}, r"proj_size must be below hidden_size, got 256"),
        ({"zoneout": 1.0}, r"zoneout must be a finite number, at least 0, below 1, got 1.0"),
        ({"model": "gru", "peephole": True}, "peephole is for --model lstm, this is gru"),
        ({"model": "rnn", "reset_after": False}, "reset_after is for --model gru, this is rnn"),
        ({"nonlinearity": "relu"}, "nonlinearity is for --model rnn, this is lstm"),
        ({"coupled": True, "peephole": True}, "coupled does not go together with peephole"),
        ({"coupled": True, "forget_gate": False}, "coupled does not go .* forget_gate false"),
        ({"layer_norm": True, "proj_size": 9}, "layer_norm does not go together with proj_size"),
        (
            {"model": "rnn", "forget_bias": 1.0},
            "forget_bias is for --model gru or .*lstm, this is rnn",
        ),
        ({"forget_gate": False, "initialization": "chrono"}, "chrono: this lstm has no gate"),
        (
            {"longest_memory": 2},
            "longest_memory must be a whole number, at least 3, at most 1,073,741,824, got 2",
        ),
        ({"context_length": 8}, "context_length is for --model mlp or transformer, this is lstm"),
        (
            {"model": "mlp", "context_length": 0},
            "context_length must be a whole number, at least 1, at most 1,048,576, got 0",
        ),
        ({"model": "mlp", "num_heads": 2}, "num_heads is for --model transformer, this is mlp"),
        ({"positions": "none"}, "positions is for --model transformer, this is lstm"),
        ({"model": "mlp", "layer_norm": True}, "layer_norm is for --model lstm, this is mlp"),
        (
            {"model": "mlp", "forget_bias": 1.0},
            "forget_bias is for --model gru or .*lstm, this is mlp",
        ),
        (
            {"model": "transformer", "num_heads": 3},
            "num_heads must divide embedding_size, got 3 heads for 64 features",
        ),
        (
            {"model": "transformer", "num_heads": 0},
            "num_heads must be .*, at least 1, got 0",
        ),
        (
            {"model": "transformer", "num_heads": -4},
            "num_heads must be .*, at least 1, got -4",
        ),
        (
            {"model": "transformer", "embedding_size": 12},
            "rotary positions turn pairs of features: embedding_size / num_heads must be even, "
            "got 12 / 4",
        ),
        (
            {
                "model": "transformer",
                "embedding_size": 9,
                "num_heads": 3,
                "positions": "sinusoidal",
            },
            "sinusoidal positions are pairs of features: embedding_size must be even, got 9",
        ),
        (
            {"model": "mlp", "tie_weights": True},
            "tie_weights needs embedding_size = .*, got 64 and 256",
        ),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)


def test_a_table_holds_only_what_its_family_has() -> None:
    """But for what earlier versions wrote into every table: others' settings, switched off."""
    assert model_config({"hidden_size": 8}) == ModelConfig(hidden_size=8)
    old = {"model": "gru", "peephole": False, "nonlinearity": "tanh", "context_length": None}
    assert model_config(old) == ModelConfig(model="gru")
    for table, message in (
        ({"model": "gru", "peephole": True}, "peephole is for --model lstm, this is gru"),
        ({"model": "gru", "peephol": True}, "no setting named peephol in here; there are"),
        ({"model": "mlp", "initialization": "chrono"}, "initialization in here must be one of"),
        ({"model": 3}, "model must be one of rnn, gru, .*, got 3"),
        (["model"], "here must be a table, got"),
    ):
        with pytest.raises(ConfigError, match=message):
            model_config(table, where="here")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("vocab_size", [1, 65])
def test_the_size_of_every_kind_is_counted_without_building_it(kind: str, vocab_size: int) -> None:
    parameters = list(build(MODELS[kind], vocab_size).parameters())
    counted = Size(len(parameters), sum(p.numel() for p in parameters))
    assert size_of(MODELS[kind], vocab_size) == counted


@pytest.mark.parametrize("vocab_size", [1, 65])
@pytest.mark.parametrize("num_layers", [1, 2, 5])
@pytest.mark.parametrize(("embedding_size", "tied"), [(3, False), (5, False), (5, True)])
def test_deep_models_are_counted_from_two_shallow_ones(
    vocab_size: int, num_layers: int, embedding_size: int, tied: bool
) -> None:
    config = ModelConfig(
        embedding_size=embedding_size, hidden_size=5, num_layers=num_layers, tie_weights=tied
    )
    model = build(config, vocab_size)
    assert num_parameters(config, vocab_size) == sum(p.numel() for p in model.parameters())


def test_a_variant_is_told_in_words() -> None:
    assert ModelConfig().variant == ""
    assert ModelConfig(model="gru", reset_after=False).variant == "no reset after"
    config = ModelConfig(peephole=True, zoneout=0.1)
    assert config.variant == "peephole, zoneout 0.1"
    assert ModelConfig(model="mlp", context_length=5).variant == ""  # told beside the sizes
    config = ModelConfig(model="transformer", num_heads=2, positions="learned")
    assert config.variant == "num heads 2, positions learned"


def test_odd_features_are_for_those_who_turn_none() -> None:
    odd = {"model": "transformer", "embedding_size": 9, "num_heads": 3}
    for positions in ("learned", "none"):
        assert ModelConfig(**odd, positions=positions).output_size == 9


def test_the_context_is_that_of_the_family_unless_one_is_given() -> None:
    assert [ModelConfig(model=m).context for m in ("rnn", "gru", "lstm")] == [0, 0, 0]
    assert ModelConfig(model="mlp").context == 16
    assert ModelConfig(model="transformer").context == 128
    assert ModelConfig(model="transformer", context_length=1).context == 1


@pytest.mark.parametrize(
    ("positions", "longest"), [("rotary", None), ("none", None), ("learned", 7), ("sinusoidal", 7)]
)
def test_only_absolute_positions_end(positions: str, longest: int | None) -> None:
    config = ModelConfig(model="transformer", positions=positions, context_length=7)
    assert config.max_length == build(config, 3).max_length == longest
    assert ModelConfig(model="mlp", context_length=7).max_length is None
    assert ModelConfig().max_length is None


@pytest.mark.parametrize(
    ("model", "positions"),
    [("mlp", "rotary"), ("transformer", "rotary"), ("transformer", "learned")],
)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_deep_windows_and_transformers_are_counted(
    model: str, positions: str, num_layers: int, tied: bool
) -> None:
    """The width of the mlp's output is its hidden size, that of the transformer its embedding's."""
    config = ModelConfig(
        model=model,
        embedding_size=8,
        hidden_size=8 if model == "mlp" and tied else 5,
        num_layers=num_layers,
        context_length=3,
        tie_weights=tied,
        **({} if model == "mlp" else {"positions": positions}),
    )
    built = sum(p.numel() for p in build(config, 7).parameters())
    assert num_parameters(config, 7) == built


def test_an_unknown_family_is_named() -> None:
    """In a process of its own: here the checker of annotations would be first."""
    code = "from carousel.models.config import ModelConfig; ModelConfig(model='foo')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = f"ConfigError: model must be one of {', '.join(CONFIGS)}, got 'foo'"
    assert done.stderr.strip().endswith(message)
