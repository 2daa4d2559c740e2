"""Settings of a run: impossible ones are named, presets and files are laid over the defaults."""

from pathlib import Path
from typing import Any

import pytest
import torch

from carousel.errors import ConfigError
from carousel.models.language_model import build
from carousel.training.config import (
    PRESETS,
    DataConfig,
    RunConfig,
    TrainingConfig,
    read_toml,
    run_config,
    to_tables,
)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sequence_length": 0}, "sequence_length must be a whole number, at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be a whole number, at least 1, got -1"),
        ({"steps": 0}, "steps must be a whole number, at least 1, got 0"),
        ({"eval_every": 0}, "eval_every must be a whole number, at least 1, got 0"),
        ({"save_every": 0}, "save_every must be a whole number, at least 1, got 0"),
        ({"sample_every": -1}, "sample_every must be a whole number, at least 0, got -1"),
        ({"patience": -1}, "patience must be a whole number, at least 0, got -1"),
        ({"warmup_steps": -1}, "warmup_steps must be a whole number, at least 0, got -1"),
        ({"seed": -1}, r"seed must be a whole number, at least 0, at most 2\^64 - 1, got -1"),
        (
            {"seed": 2**64},
            r"seed must be a whole number, at least 0, at most 2\^64 - 1, got 18446744073709551616",
        ),
        (
            {"learning_rate": 0.0},
            r"learning_rate must be a finite number, above 0, at most 1,000,000, got 0.0",
        ),
        (
            {"learning_rate": float("nan")},
            r"learning_rate must be a finite number, above 0, at most 1,000,000, got nan",
        ),
        (
            {"learning_rate": 1e39},
            r"learning_rate must be a finite number, above 0, at most 1,000,000, got 1e\+39",
        ),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be a finite number, at least 0, got -1.0"),
        (
            {"max_grad_norm": float("inf")},
            "max_grad_norm must be a finite number, at least 0, got inf",
        ),
        (
            {"weight_decay": float("nan")},
            "weight_decay must be a finite number, at least 0, got nan",
        ),
        ({"time_limit": 0.0}, "time_limit must be a finite number, above 0, got 0.0"),
    ],
)
def test_impossible_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**setting)


def test_the_largest_seed_works() -> None:
    torch.manual_seed(TrainingConfig(seed=2**64 - 1).seed)


def test_fractions() -> None:
    assert DataConfig(fractions="0.8, 0.1,0.1").parts == (0.8, 0.1, 0.1)
    assert DataConfig().parts is None
    with pytest.raises(ConfigError, match=r"numbers with commas between them, got '0\.9;0\.1'"):
        DataConfig(fractions="0.9;0.1")


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_impossible_seeds_of_a_split_are_named(seed: int) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"split_seed must be a whole number, at least 0, at most 2\^64 - 1, got {seed}",
    ):
        DataConfig(split_seed=seed)


def test_later_layers_win_and_defaults_stay() -> None:
    config = run_config(
        ("a", {"training": {"steps": 5, "seed": 1}}),
        ("b", {"training": {"steps": 6}, "model": {"hidden_size": 3}}),
    )
    assert (config.training.steps, config.training.seed, config.model.hidden_size) == (6, 1, 3)
    assert config.training.batch_size == TrainingConfig().batch_size


def test_tables_and_back() -> None:
    config = run_config(("a", {"data": {"fractions": "0.5,0.5"}, "model": {"dropout": 0.1}}))
    assert run_config(("b", to_tables(config))) == config


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"trainig": {}}, r"a\.toml has no use for \[trainig\]; there are \['model', 'training', "),
        ({"training": {"lr": 1}}, r"no setting named lr in \[training\] of a\.toml; there are \["),
        ({"model": {"hidden_size": 2.5}}, r"hidden_size in \[model\] of a\.toml must be a whole"),
        (
            {"model": {"hidden_size": 0}},
            r"hidden_size in \[model\] of a\.toml must be .*at least 1",
        ),
    ],
)
def test_what_a_file_gets_wrong_is_named(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_config(("a.toml", tables))


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[training]\nlearning_rate = 1e-3\n")
    assert run_config((str(path), read_toml(path))).training.learning_rate == 1e-3
    for content, message in {
        "steps = 3\n": "steps stands in no table",
        "[training\n": "a.toml is not a TOML file",
        "[training]\nsteps = \n": "a.toml is not a TOML file",
    }.items():
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"a\.toml is not a TOML file"):
        read_toml(path)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_its_model(name: str) -> None:
    config = run_config((name, PRESETS[name]))
    with torch.device("meta"):  # shapes only: no memory, no time
        build(config.model, 65)


def test_the_reference_recipe_is_frozen() -> None:
    """Results are compared with it: a change of any default must not reach it."""
    config: RunConfig = run_config(("story", PRESETS["story"]))
    model, training = config.model, config.training
    assert (model.model, model.embedding_size, model.hidden_size) == ("lstm", 64, 256)
    assert (model.num_layers, model.dropout, model.tie_weights) == (1, 0.0, False)
    assert (model.initialization, training.batching, training.steps) == ("torch", "windows", 20_000)
    assert (training.sequence_length, training.batch_size) == (128, 64)
    assert (training.optimizer, training.learning_rate) == ("adam", 2e-3)
    assert (training.schedule, training.warmup_steps) == ("constant", 0)
    assert (training.max_grad_norm, training.patience, training.seed) == (1.0, 0, 0)
    assert (training.precision, training.time_limit) == ("float32", None)
    assert (config.data.split, config.data.fractions) == ("contiguous", None)
