"""How a model is trained: settings, presets, TOML files. Imports no torch."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from carousel.errors import ConfigError, UnreadableError, shorten
from carousel.input_files import TOML_LIMIT, read_input
from carousel.limits import bounded, check_fields
from carousel.models.config import (
    DEFAULT_MODEL,
    ModelConfig,
    check_model_table,
    config_class,
    model_config,
)
from carousel.tables import check_table, from_table


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run.

    Attributes:
        sequence_length: Characters per window, T. A gradient reaches back as far.
        batch_size: Windows per step, B.
        batching: How windows are taken from the text. "lanes" reads it in B parallel lanes and
            carries the state from window to window; "windows" draws windows at random and starts
            each from zero; "auto" takes lanes where the text is long enough for them.
        steps: Optimiser steps. Default: fitted to the size of the text.
        optimizer: Update rule. "muon" is for the matrices between features, with adamw for the
            embedding, the output and all vectors.
        learning_rate: Peak step size of Adam's rule. Default: 0.016 beside Muon; without it 8e-3,
            and 2e-3 for the transformer.
        muon_learning_rate: Peak step size of Muon.
        schedule: What the learning rate does after the warm-up until the last step.
        warmup_steps: Steps over which the learning rate rises from zero.
        weight_decay: Decoupled decay of the matrices. Used by adamw and muon.
        max_grad_norm: Largest global L2 norm of the gradients. Larger ones are scaled down to it; 0
            leaves them.
        seed: Of initialisation, batches and dropout.
        eval_every: Steps between validations. Default: 20 validations in a run.
        save_every: Steps between checkpoints. Default: at each validation.
        sample_every: Steps between samples. 0 takes none. Default: at every fourth validation.
        patience: Validations without improvement after which training stops. 0 never stops.
        time_limit: Seconds that training may take. Steps are fitted to it, from the speed measured
            at the start. Default: no limit.
        precision: Type of the products. They are summed in float32. "bf16" (autocast) is up to
            twice as fast; "auto" takes it where a kernel multiplies it natively. Weights, states
            and losses are float32 in any case.
    """

    sequence_length: int = bounded(128, at_least=1)
    batch_size: int = bounded(64, at_least=1)
    batching: Literal["auto", "lanes", "windows"] = "auto"
    steps: int | None = bounded(None, at_least=1)
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float | None = bounded(None, above=0, at_most=1_000_000)
    muon_learning_rate: float = bounded(0.05, above=0, at_most=1_000_000)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = bounded(50, at_least=0)
    weight_decay: float = bounded(0.01, at_least=0)
    max_grad_norm: float = bounded(1.0, at_least=0)
    seed: int = bounded(0, at_least=0, at_most=2**64 - 1)
    eval_every: int | None = bounded(None, at_least=1)
    save_every: int | None = bounded(None, at_least=1)
    sample_every: int | None = bounded(None, at_least=0)
    patience: int = bounded(5, at_least=0)
    time_limit: float | None = bounded(None, above=0)
    precision: Literal["auto", "float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        """Check every field; ConfigError names the one that is wrong."""
        check_fields(self)

    @property
    def peak(self) -> float:
        """The learning rate, once `start.resolve` has chosen one where none was given."""
        assert self.learning_rate is not None, "resolve() comes first"
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How a text is divided.

    Attributes:
        split: How the text is divided. "contiguous" is 90/5/5 per cent for training, validation and
            test, cut at blank lines where there are any; "exact" is 90/10, cut to the character;
            "documents" and "books" are 90/5/5 again, drawn at random from whole documents (between
            blank lines) or from the whole books that --index names.
        fractions: Shares of training, validation and, if there is a third, test. Numbers with
            commas between them, such as 0.9,0.1. Default: the split's own.
        split_seed: Seed of the drawn splits. It is not --seed, so that runs with other seeds share
            a split.
        index: For the split "books": a file of tab-separated values whose columns offset_chars and
            length_chars say where each book stands, in characters of the text.
    """

    split: Literal["contiguous", "exact", "documents", "books"] = "contiguous"
    fractions: str | None = None
    split_seed: int = bounded(0, at_least=0, at_most=2**64 - 1)
    index: str | None = None

    def __post_init__(self) -> None:
        """Check every field; the split checks whether the fractions add up."""
        check_fields(self)
        _ = self.parts
        if "\0" in (self.index or ""):
            raise ConfigError(f"index must be the name of a file, got {self.index!r}")

    @property
    def parts(self) -> tuple[float, ...] | None:
        """The fractions as numbers; None takes the method's own."""
        if self.fractions is None:
            return None
        try:
            return tuple(float(part) for part in self.fractions.split(","))
        except ValueError:
            raise ConfigError(
                f"fractions must be numbers with commas between them, got {self.fractions!r}"
            ) from None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run computes, beside the text itself."""

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)


Tables = dict[str, dict[str, Any]]
Preset = Literal["best", "story", "demo"]

PRESETS: dict[str, Tables] = {
    # What learned most in least time of all that was tried (experiments/LOG.md), on three texts,
    # and of every family on two.
    "best": {
        "model": {"embedding_size": 64, "hidden_size": 384},
        "training": {
            "sequence_length": 128,
            "batch_size": 32,
            "optimizer": "muon",
            "muon_learning_rate": 0.05,
            "weight_decay": 0.05,
            "precision": "auto",
        },
    },
    # The reference recipe stays as it is, so that results can be compared with it.
    "story": {
        "model": {
            "embedding_size": 64,
            "hidden_size": 256,
            "num_layers": 1,
            "dropout": 0.0,
            "initialization": "torch",
        },
        "training": {
            "sequence_length": 128,
            "batch_size": 64,
            "batching": "windows",
            "steps": 20_000,
            "optimizer": "adam",
            "learning_rate": 2e-3,
            "schedule": "constant",
            "warmup_steps": 0,
            "max_grad_norm": 1.0,
            "patience": 0,
        },
    },
    "demo": {
        "model": {"embedding_size": 32, "hidden_size": 256},
        "training": {
            "sequence_length": 128,
            "batch_size": 16,
            "steps": 6_000,
            "optimizer": "muon",
            "weight_decay": 0.05,
            "precision": "auto",
            "warmup_steps": 20,
            "time_limit": 85.0,
            "patience": 0,
        },
    },
}


_MOST_DOTS = 1000  # in a line: tomllib takes time that grows with the square of a key's parts


def _check_depth(text: str) -> str:
    """Return a text of TOML.

    Raises:
        ValueError: If a line has so many dots that it may be a key of thousands of parts.
    """
    if max(line.count(".") for line in text.split("\n")) > _MOST_DOTS:
        raise ValueError("nested too deep: settings stand in tables")
    return text


def read_toml(path: Path) -> Tables:
    """Return the tables of a TOML file.

    Raises:
        ConfigError: If it is not TOML, or holds anything but tables.
    """
    try:
        tables = tomllib.loads(_check_depth(read_input(path, TOML_LIMIT).decode()))
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError) as error:  # no TOML, or no UTF-8
        raise ConfigError(f"{path} is not a TOML file: {shorten(error)}") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} stands in no table; there are [model], [training]")
    return tables


def run_config(*layers: tuple[str, Mapping[str, Any]]) -> RunConfig:
    """Lay tables over the defaults, the later ones winning; each comes with the name of its source.

    Raises:
        ConfigError: If a table or a setting is unknown, or a value impossible.
    """
    merged: Tables = {"model": {}, "training": {}, "data": {}}
    for source, tables in layers:
        if unknown := sorted(set(tables) - set(merged)):
            raise ConfigError(f"{source} has no use for [{unknown[0]}]; there are {list(merged)}")
        for name, table in tables.items():
            if not isinstance(table, dict):
                got = shorten(repr(table))
                raise ConfigError(f"[{name}] of {source} must be a table, got {got}")
            merged[name] |= table
    parts = {
        "model": config_class(merged["model"].get("model", DEFAULT_MODEL)),
        "training": TrainingConfig,
        "data": DataConfig,
    }
    for source, tables in layers:
        for name, table in tables.items():
            where = f"[{name}] of {source}"
            if name == "model":
                check_model_table(table, parts[name], where=where)
            else:
                check_table(parts[name], table, where=where)
    return RunConfig(
        model=model_config(merged["model"]),
        training=from_table(TrainingConfig, merged["training"]),
        data=from_table(DataConfig, merged["data"]),
    )


def to_tables(config: RunConfig) -> Tables:
    """Return the tables that run_config turns back into the same config."""
    return asdict(config)
