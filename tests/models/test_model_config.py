"""What a model may be."""

from typing import Any

import pytest

from carousel.errors import ConfigError
from carousel.models.config import ModelConfig
from carousel.models.recurrent import build
from models.small_models import CONFIGS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be at least 1, got 0"),
        ({"hidden_size": -3}, "hidden_size must be at least 1, got -3"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), got nan"),
        ({"forget_bias": float("inf")}, r"forget_bias must be in \[-100, 100\], got inf"),
        (
            {"tie_weights": True},
            "tie_weights needs embedding_size = .*, got 64 and 256",
        ),
        ({"tie_weights": True, "embedding_size": 256, "proj_size": 64}, "got 256 and 64"),
        ({"proj_size": 256}, r"proj_size must be in \[0, hidden_size\), got 256"),
        ({"zoneout": 1.0}, r"zoneout must be in \[0, 1\), got 1.0"),
        ({"model": "gru", "peephole": True}, "peephole is for --model lstm, this is gru"),
        ({"model": "rnn", "reset_after": False}, "reset_after is for --model gru, this is rnn"),
        ({"nonlinearity": "relu"}, "nonlinearity is for --model rnn, this is lstm"),
        ({"coupled": True, "peephole": True}, "coupled does not go together with peephole"),
        ({"coupled": True, "forget_gate": False}, "coupled does not go .* forget_gate false"),
        ({"layer_norm": True, "proj_size": 9}, "layer_norm does not go together with proj_size"),
        ({"model": "rnn", "forget_bias": 1.0}, "forget_bias: this rnn has no gate that forgets"),
        ({"forget_gate": False, "initialization": "chrono"}, "chrono: this lstm has no gate"),
        ({"longest_memory": 2}, "longest_memory must be at least 3, got 2"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("vocab_size", [1, 65])
def test_the_formula_counts_the_parameters_of_every_kind(kind: str, vocab_size: int) -> None:
    model = build(CONFIGS[kind], vocab_size)
    assert CONFIGS[kind].num_parameters(vocab_size) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("vocab_size", [1, 65])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize(("embedding_size", "tied"), [(3, False), (5, False), (5, True)])
def test_the_formula_counts_the_parameters(
    vocab_size: int, num_layers: int, embedding_size: int, tied: bool
) -> None:
    config = ModelConfig(
        embedding_size=embedding_size, hidden_size=5, num_layers=num_layers, tie_weights=tied
    )
    model = build(config, vocab_size)
    assert config.num_parameters(vocab_size) == sum(p.numel() for p in model.parameters())


def test_a_variant_is_told_in_words() -> None:
    assert ModelConfig().variant == ""
    assert ModelConfig(model="gru", reset_after=False).variant == "no reset after"
    config = ModelConfig(peephole=True, zoneout=0.1, nonlinearity="tanh")
    assert config.variant == "peephole, zoneout 0.1"
