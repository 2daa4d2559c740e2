"""The settings that every model has, and the way to those of its family. Imports no torch.

`carousel.models.families` fills CONFIGS: which families there are stands there alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from carousel.errors import ConfigError, shorten
from carousel.limits import bounded, check_fields
from carousel.tables import check_table, from_table

# A config.json from elsewhere may ask for anything: sizes above these, far beyond what one machine
# can train, are refused before any memory or time is taken.
MAX_SIZE, MAX_LAYERS = 1 << 20, 1000
DEFAULT_MODEL = "lstm"

CONFIGS: dict[str, "type[ModelConfig]"] = {}  # by the family's name


@dataclass(frozen=True, kw_only=True, init=False)
class ModelConfig:
    """Sizes and initialisation of a model; each family adds settings of its own.

    `ModelConfig(model="gru", …)` returns the config of that family, here a `GRUConfig`; without a
    name it is the LSTM's. A time step is a character of a text, or a number of a series.

    Attributes:
        model: The architecture.
        embedding_size: Features per time step, D.
        hidden_size: Units per layer, H.
        num_layers: Stacked layers, L.
        dropout: Probability of zeroing a feature between layers.
        tie_weights: Share one matrix between embedding and output. Needs D = H.
        initialization: How weights are drawn at first. "orthogonal" is made for the family; "torch"
            draws every weight as torch's own layers do.

    Raises:
        ConfigError: If there is no such family, it lacks a setting, or a value is impossible.

    Example:
        >>> from carousel import ModelConfig
        >>> ModelConfig(model="gru", hidden_size=48).reset_after
        True
    """

    is_recurrent: ClassVar[bool] = False  # whether a time step waits for the one before

    model: str
    embedding_size: int = bounded(64, at_least=1, at_most=MAX_SIZE)
    hidden_size: int = bounded(256, at_least=1, at_most=MAX_SIZE)
    num_layers: int = bounded(1, at_least=1, at_most=MAX_LAYERS)
    dropout: float = bounded(0.0, at_least=0, below=1)
    tie_weights: bool = False
    initialization: Literal["orthogonal", "torch"] = "orthogonal"

    def __new__(cls, **settings: Any) -> "ModelConfig":
        """Return a config of the family that `model` names; Python then fills it in."""
        if cls is not ModelConfig:
            return object.__new__(cls)
        family = config_class(settings.get("model", DEFAULT_MODEL))
        if foreign := [name for name in settings if name not in setting_names(family)]:
            raise foreign_setting(foreign[0], family)
        return object.__new__(family)

    def __init__(self, **settings: Any) -> None:
        """Do nothing: `__new__` returns a family's config, whose own `__init__` fills it in."""

    def __post_init__(self) -> None:
        """Check every field; ConfigError names the one that is wrong."""
        name = next((name for name, config in CONFIGS.items() if type(self) is config), self.model)
        if self.model != name:
            raise ConfigError(f"model is {name} here, got {self.model!r}")
        check_fields(self)
        self._check_own()
        if self.tie_weights and self.embedding_size != self.output_size:
            raise ConfigError(
                "tie_weights needs embedding_size = hidden_size (or proj_size), "
                f"got {self.embedding_size} and {self.output_size}"
            )

    def _check_own(self) -> None:
        """Reject impossible values of the family's own settings; a family may override it."""

    @property
    def variant(self) -> str:
        """The family's own settings that differ from its plain form, in words; else nothing."""
        words = []
        shared = ModelConfig.__dataclass_fields__
        for name in (name for name in type(self).__annotations__ if name not in shared):
            value, spoken = getattr(self, name), name.replace("_", " ")
            if value == type(self).__dataclass_fields__[name].default:
                continue
            if isinstance(value, bool):
                words.append(spoken if value else f"no {spoken}")
            else:
                words.append(f"{spoken} {value}")
        return ", ".join(words)

    @property
    def context(self) -> int:
        """Time steps that each layer sees; 0: there is no such limit."""
        return 0

    @property
    def max_length(self) -> int | None:
        """Characters after which there are no positions left; None: there is no end."""
        return None

    @property
    def position_kind(self) -> str:
        """How the model knows where a time step stands, for messages; nothing if it need not."""
        return ""

    @property
    def learned_positions(self) -> int:
        """Positions of which each has a vector of its own; 0: none has."""
        return 0

    @property
    def output_size(self) -> int:
        """Features of the last layer's output, P."""
        return self.hidden_size

    @property
    def has_fused_kernel(self) -> bool:
        """Whether a fused kernel of the CPU runs this family in this variant."""
        return False


def config_class(name: object) -> type[ModelConfig]:
    """Return the config of a family by its name.

    Raises:
        ConfigError: If there is no such family.
    """
    if not isinstance(name, str) or name not in CONFIGS:
        raise ConfigError(f"model must be one of {', '.join(CONFIGS)}, got {shorten(repr(name))}")
    return CONFIGS[name]


def setting_names(config: type[ModelConfig]) -> list[str]:
    """Return the names of a family's settings."""
    return [field.name for field in fields(config)]


def all_settings() -> list[str]:
    """Return the names of the settings of all families, each once."""
    names = [name for config in CONFIGS.values() for name in setting_names(config)]
    return list(dict.fromkeys(names))


def foreign_setting(name: str, family: type[ModelConfig]) -> ConfigError:
    """Return the error for a setting that a family does not have: which one does?"""
    own = _default(family, "model")
    if owners := [model for model, config in CONFIGS.items() if name in setting_names(config)]:
        return ConfigError(f"{name} is for --model {' or '.join(owners)}, this is {own}")
    return ConfigError(f"no setting named {shorten(name)}; there are {setting_names(family)}")


def model_config(table: Any, *, where: str = "") -> ModelConfig:
    """Build the config that a table of JSON or TOML describes.

    Settings of other families are left out if they have the value that switches them off: earlier
    versions wrote all settings into every table.

    Args:
        table: Names and values; a missing one takes its default.
        where: Named in the message of an error, such as "[model] of my.toml".

    Raises:
        ConfigError: If there is no such family, or a setting is unknown or impossible.
    """
    if not isinstance(table, Mapping):
        check_table(ModelConfig, table, where=where)  # which says that it is no table
    family = config_class(table.get("model", DEFAULT_MODEL))
    return from_table(family, own_settings(table, family), where=where)


def check_model_table(table: Any, family: type[ModelConfig], *, where: str) -> None:
    """Refuse a table with unknown settings or wrong types; a whole config is not asked for.

    Raises:
        ConfigError: As `model_config`.
    """
    if isinstance(table, dict):
        table = own_settings(table, family)
    check_table(family, table, where=where)


def own_settings(table: Mapping[str, Any], family: type[ModelConfig]) -> dict[str, Any]:
    """Return a table without other families' settings.

    Raises:
        ConfigError: If one of these has another value than the one that switches it off.
    """
    kept = dict(table)
    for name in set(table) - set(setting_names(family)):
        others = [config for config in CONFIGS.values() if name in setting_names(config)]
        if others and table[name] not in [_default(config, name) for config in others]:
            raise foreign_setting(name, family)
        if others:
            del kept[name]
    return kept


def _default(config: type[ModelConfig], name: str) -> Any:
    return config.__dataclass_fields__[name].default
