"""The registry: what is registered as a family is one, everywhere, and needs nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

import carousel
from carousel.cli.train import read_command
from carousel.errors import ConfigError
from carousel.models.backbone import Backbone, Embed
from carousel.models.base import State
from carousel.models.config import CONFIGS, ModelConfig
from carousel.models.families import FAMILIES, register
from carousel.models.families.family import Family
from carousel.nn.embedding import Embedding
from carousel.server.app import create_app
from cli.commands import TEXT
from server.running import thread_engine


@dataclass(frozen=True, kw_only=True)
class FadingConfig(ModelConfig):
    """Settings of the toy.

    Attributes:
        decay: What remains of the past after a time step.
    """

    model: Literal["fading"] = "fading"
    decay: float = 0.5

    @property
    def output_size(self) -> int:
        return self.embedding_size


class FadingSum(Backbone):
    """The sum of all inputs, each with a weight that falls with its age."""

    def __init__(self, size: int, decay: float) -> None:
        super().__init__()
        self.size, self.decay = size, decay
        self.gain = nn.Parameter(torch.ones(size))

    def initial_state(self, batch_size: int) -> State:
        return (self.gain.new_zeros(1, batch_size, self.size),)

    def forward(self, inputs: Tensor, embed: Embed, state: State | None) -> tuple[Tensor, State]:
        (h,) = self.initial_state(len(inputs)) if state is None else state
        outputs, sum_ = [], h[0]
        for x in embed(inputs).unbind(1):
            sum_ = self.decay * sum_ + x
            outputs.append(self.gain * sum_)
        return torch.stack(outputs, 1), (sum_.unsqueeze(0),)

    def initialize(self) -> None:
        nn.init.ones_(self.gain)


def build(config: FadingConfig, input_size: int | None) -> Backbone:
    return FadingSum(config.embedding_size, config.decay)


@pytest.fixture
def toy() -> Iterator[str]:
    register(Family(name="fading", title="fading sum", config=FadingConfig, build=build))
    yield "fading"
    del FAMILIES["fading"], CONFIGS["fading"]


def test_a_registered_family_trains_resumes_writes_and_is_served(toy: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings: dict[str, Any] = {
        **{"text": TEXT, "model": toy, "decay": 0.25, "out": run, "progress": False},
        **{"embedding_size": 8, "sequence_length": 16, "batch_size": 4, "save_every": 2},
    }
    first = carousel.train(**settings, steps=4)
    assert first.module.config == FadingConfig(decay=0.25, embedding_size=8, hidden_size=384)
    saved = json.loads((run / "checkpoints" / "00000004" / "config.json").read_text())
    assert saved["model"]["decay"] == 0.25
    resumed = carousel.train(**settings, steps=6, resume=True)
    loaded = carousel.load(run)
    assert loaded.loss(TEXT) == resumed.loss(TEXT)
    text = loaded.generate("the ", length=20, seed=1)
    assert len(text) == 20
    with thread_engine(loaded.module, loaded.vocabulary) as engine:
        client = create_app([engine]).test_client()
        asked = {"prompt": "the ", "max_tokens": 20, "seed": 1}
        assert client.post("/v1/completions", json=asked).status_code == 200


def test_a_registered_family_has_flags_of_its_own(
    toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_command(["--model", toy, "--decay", "0.75"]).model.decay == 0.75
    for arguments in (["--model", toy, "--help"], ["--model", toy, "--help-all"]):
        with pytest.raises(SystemExit, match="0"):
            read_command(arguments)
        text = capsys.readouterr().out
        assert "--decay FLOAT" in text
        assert "What remains of the past after a time step" in text
        assert "fading}" in text
    with pytest.raises(SystemExit, match="2"):
        read_command(["--decay", "0.75"])
    assert "decay is for --model fading, this is lstm" in capsys.readouterr().err


def test_families_do_not_know_each_others_settings(toy: str) -> None:
    with pytest.raises(ConfigError, match="decay is for --model fading, this is gru"):
        ModelConfig(model="gru", decay=0.5)
    with pytest.raises(ConfigError, match="peephole is for --model lstm, this is fading"):
        ModelConfig(model=toy, peephole=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_variant_of_a_family_can_be_built(name: str) -> None:
    family = FAMILIES[name]
    assert family.variants, "its plain form at least"
    for settings in family.variants.values():
        config = family.config(embedding_size=8, hidden_size=8, **settings)
        body = family.build(config, None)
        y, _ = body(torch.zeros(2, 3, dtype=torch.long), Embedding(5, 8), None)
        assert y.shape == (2, 3, config.output_size)
