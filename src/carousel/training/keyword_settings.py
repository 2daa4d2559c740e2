"""Settings as keyword arguments: checked, sorted into configs, unknown names refused with advice.

Imports no torch.
"""

import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from carousel.data.reading import Reading
from carousel.errors import ConfigError
from carousel.models.config import ModelConfig, all_settings, model_config
from carousel.tables import from_table
from carousel.training.config import (
    PRESETS,
    DataConfig,
    RunConfig,
    Tables,
    TrainingConfig,
    read_toml,
    run_config,
    to_tables,
)

PARTS: dict[str, type] = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "data": DataConfig,
    "reading": Reading,
}
# Names that other libraries give to these settings.
_ALIASES = {
    "lr": "learning_rate",
    "epochs": "steps",
    "max_steps": "steps",
    "num_steps": "steps",
    "n_layers": "num_layers",
    "layers": "num_layers",
    "embedding_dim": "embedding_size",
    "seq_len": "sequence_length",
    "block_size": "sequence_length",
    "grad_clip": "max_grad_norm",
    "random_state": "seed",
    "output_dir": "out",
    "resume_from_checkpoint": "resume",
    "verbose": "progress",
    "max_tokens": "length",
    "max_new_tokens": "length",
    "max_length": "length",
    "num_samples": "n",
    "num_return_sequences": "n",
    "horizon": "ahead",
    "lookback": "window",
    "lags": "window",
}


def owners() -> dict[str, str]:
    """Return the config that each setting belongs to, by the setting's name."""
    named = {name: "model" for name in all_settings() if name != "model"}  # an argument of its own
    others = {part: cls for part, cls in PARTS.items() if part != "model"}
    return named | {field.name: part for part, cls in others.items() for field in fields(cls)}


class Settings(NamedTuple):
    """The settings of a call: of the run, and of reading files."""

    run: RunConfig
    reading: Reading


def unknown_setting(name: str, known: Iterable[str], call: str) -> ConfigError:
    """Return the error for a keyword that a call does not have, with the nearest that it has."""
    names = set(known)
    near = [_ALIASES[name]] if _ALIASES.get(name) in names else []
    near = near or get_close_matches(name, names, n=3, cutoff=0.6)
    advice = f"; perhaps you meant {' or '.join(near)}" if near else ""
    return ConfigError(f"{call} has no setting named {name}{advice}")


def make_settings(
    settings: Mapping[str, Any],
    *,
    model: ModelConfig | str | None = None,
    training: TrainingConfig | None = None,
    data: DataConfig | None = None,
    reading: Reading | None = None,
    config: RunConfig | str | os.PathLike[str] | None = None,
    preset: str | None = None,
    base: tuple[str, Tables] | None = None,
    arguments: Iterable[str] = (),
    call: str = "train",
) -> Settings:
    """Turn the arguments of a call into configs; nothing that is given is ignored.

    Keywords win over a TOML file, that over `base`, that over the preset. A config object stands
    for its part alone: it is refused beside a keyword of the same part, or a preset.

    Args:
        settings: Keyword arguments: fields of the configs.
        model: The architecture's name, or a whole config.
        training: A whole config.
        data: A whole config.
        reading: A whole config.
        config: All settings of a run in one object, or the path of a TOML file.
        preset: Settings to start from, "best" unless a config object takes its place.
        base: Tables between the preset and the file, and their name.
        arguments: Other arguments of the call, which a misspelt name may mean.
        call: The name of the call, for messages.

    Raises:
        ConfigError: If a name is unknown, two of them exclude each other, or a value is impossible.
    """
    given = _sorted(settings, arguments, call)
    objects: dict[str, Any] = {"training": training, "data": data, "reading": reading}
    if isinstance(model, str):
        given["model"]["model"] = model
    else:
        objects["model"] = model
    for part, value in objects.items():
        _check_part(part, value, given[part])
    if isinstance(config, RunConfig):
        _check_whole(given, objects, preset)
        return Settings(config, reading or from_table(Reading, given["reading"]))
    replaced = next((part for part in ("model", "training") if objects.get(part)), None)
    if preset is not None and replaced:
        raise ConfigError(f"preset goes with keyword settings: {replaced} is a whole config")
    name = preset or "best"
    if name not in PRESETS:
        raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    file = read_toml(Path(config)) if config is not None else {}
    layers = [(f"preset {name}", PRESETS[name]), (str(config), file)]
    if base is not None:
        layers.insert(1, base)
    merged = to_tables(run_config(*layers))
    for part, value in objects.items():
        if value is not None and part in merged:
            if file.get(part):
                raise ConfigError(f"[{part}] of {config} and {part} are the same settings")
            merged[part] = asdict(value)
    return Settings(
        RunConfig(
            model=model_config(merged["model"] | given["model"]),
            training=from_table(TrainingConfig, merged["training"] | given["training"]),
            data=from_table(DataConfig, merged["data"] | given["data"]),
        ),
        reading or from_table(Reading, given["reading"]),
    )


def make_config(
    *,
    model: ModelConfig | str | None = None,
    training: TrainingConfig | None = None,
    data: DataConfig | None = None,
    config: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    **settings: Any,
) -> RunConfig:
    """Return the settings of a run from keyword arguments, a preset and a TOML file.

    Args:
        model: The architecture, "lstm" by default, or a whole `ModelConfig`.
        training: A whole `TrainingConfig`.
        data: A whole `DataConfig`.
        config: The path of a TOML file with tables [model], [training] and [data].
        preset: Settings to start from: "best" (the default), "story" or "demo".
        settings: Fields of the three configs.

    Returns:
        A config for `carousel.training.run`.

    Raises:
        ConfigError: If a name is unknown or a value is impossible.

    Example:
        >>> from carousel.training import make_config
        >>> make_config(model="gru", hidden_size=48).model.hidden_size
        48
    """
    if wrong := sorted(name for name in settings if owners().get(name) == "reading"):
        raise ConfigError(f"{wrong[0]} says how files are read: give it to train, or as Reading")
    asked = {"model": model, "training": training, "data": data, "config": config, "preset": preset}
    return make_settings(settings, **asked, arguments=asked, call="make_config").run  # type: ignore[arg-type]


def _sorted(settings: Mapping[str, Any], arguments: Iterable[str], call: str) -> Tables:
    """Return keywords by the config that they belong to, as a table would hold them."""
    given: Tables = {part: {} for part in PARTS}
    part_of = owners()
    for name, value in settings.items():
        if name not in part_of:
            raise unknown_setting(name, [*part_of, *arguments], call)
        given[part_of[name]][name] = plain(value)
    return given


def plain(value: Any) -> Any:
    """Return a value as a table holds it: integers, numbers, and text for paths and fractions."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool | str | int | float | None):
        return value
    if hasattr(value, "__index__"):
        return operator.index(value)
    return float(value) if hasattr(value, "__float__") else value


def _check_part(part: str, value: object, keywords: Mapping[str, Any]) -> None:
    """Refuse an object that is no config, and a config beside keywords of the same part."""
    if value is None:
        return
    cls = PARTS[part]
    if not isinstance(value, cls):
        raise ConfigError(f"{part} must be a {cls.__name__}, got {value!r}")
    if keywords:
        name = next(iter(keywords))
        raise ConfigError(f"{name} stands in the {cls.__name__} that {part} gives: give it there")


def _check_whole(given: Tables, objects: Mapping[str, object], preset: str | None) -> None:
    """Refuse settings beside a config that has them all."""
    names = [name for part, table in given.items() if part != "reading" for name in table]
    names += [part for part, value in objects.items() if value is not None and part != "reading"]
    names += ["preset"] if preset is not None else []
    if names:
        raise ConfigError(f"{names[0]} stands in the RunConfig that config gives: give it there")
