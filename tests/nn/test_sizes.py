"""Sizes may be any kind of integer, and nothing else."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from twins import CELLS, LAYERS

import carousel

NAMED: dict[str, dict[str, int]] = {
    **{name: {"input_size": 4, "hidden_size": 6, "num_layers": 2} for name in LAYERS},
    "LSTM": {"input_size": 4, "hidden_size": 6, "num_layers": 2, "proj_size": 3},
    **{name: {"input_size": 4, "hidden_size": 6} for name in CELLS},
    "MultiheadAttention": {"embed_dim": 8, "num_heads": 2, "kdim": 4, "vdim": 6},
}


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, torch.tensor])
@pytest.mark.parametrize("name", NAMED)
def test_any_integer_is_a_size(name: str, kind: Any) -> None:
    layer = getattr(carousel, name)
    want, got = layer(**NAMED[name]), layer(**{key: kind(n) for key, n in NAMED[name].items()})
    assert repr(got) == repr(want)
    assert {key: p.shape for key, p in got.state_dict().items()} == {
        key: p.shape for key, p in want.state_dict().items()
    }
    for key, size in NAMED[name].items():
        assert getattr(got, key) == size
        assert type(getattr(got, key)) is int


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((True, "bool"), (np.True_, "bool"), (4.0, "float"), (np.float64(4), "float64")),
        *(("4", "str"), (torch.tensor(4.0), "Tensor"), ([4], "list")),
    ],
)
@pytest.mark.parametrize("name", NAMED)
def test_nothing_else_is(name: str, value: Any, kind: str) -> None:
    for key in NAMED[name]:
        options = NAMED[name] | {key: value}
        message = f"{key} must be of type int, got {kind}"
        refused(lambda o=options: getattr(carousel, name)(**o), TypeError, message)


PROGRAM = """
from dataclasses import asdict
import numpy as np
from carousel.models.language_model import build
from carousel.models.checkpoint import to_json
from carousel.models.config import ModelConfig
sizes = ("embedding_size", "hidden_size", "num_layers")
for family in ("lstm", "mlp", "transformer"):
    config = ModelConfig(model=family, **{name: np.int64(8) for name in sizes})
    plain = ModelConfig(model=family, **{name: 8 for name in sizes})
    assert to_json(asdict(config)) == to_json(asdict(plain))
    assert type(build(config, np.int64(5)).vocab_size) is int
print("stored")
"""


def test_a_model_of_numpys_sizes_is_stored_as_any_other() -> None:
    """In a program of its own: the checker of the tests holds an int to be Python's."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("stored\n", 0), done.stderr
