"""The registry entry of a family, and the settings that several families share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from carousel.errors import ConfigError
from carousel.limits import bounded
from carousel.models.config import MAX_SIZE, ModelConfig, setting_names


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture.

    Attributes:
        name: As `--model` takes it.
        title: What it is, in a few words, for help texts.
        config: Its settings.
        build: Returns the backbone for a config and the number of features of an input, F; None
            where inputs are ids. The only function that imports torch.
        learning_rate: Peak step size of Adam's rule where the settings name none.
        variants: The settings of each variant that is proven by itself, by name; the first one is
            the plain form.
        layer: Returns the class of `carousel.nn` that runs the recurrence; None: it is none.
        not_in_torch: Why torch.nn has no such layer, by variant; one that is missing it has.
    """

    name: str
    title: str
    config: type[ModelConfig]
    build: Callable[[Any, int | None], Any]
    learning_rate: float = 8e-3
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    layer: Callable[[], Any] | None = None
    not_in_torch: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(ModelConfig):
    """Settings of a stack of recurrent layers."""

    is_recurrent: ClassVar[bool] = True

    @property
    def has_keep_gate(self) -> bool:
        """Whether a gate decides how much of the state is kept."""
        return False

    @property
    def layer_options(self) -> dict[str, Any]:
        """The settings of this family alone, which its layer takes under the same names."""
        shared = {*RecurrentConfig.__dataclass_fields__, *GatedConfig.__dataclass_fields__}
        return {
            name: getattr(self, name) for name in setting_names(type(self)) if name not in shared
        }

    @property
    def layer_arguments(self) -> dict[str, Any]:
        """Arguments that every recurrent layer of `carousel.nn` takes."""
        return {
            "input_size": self.embedding_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "batch_first": True,
            "dropout": self.dropout if self.num_layers > 1 else 0.0,
        }


@dataclass(frozen=True, kw_only=True)
class GatedConfig(RecurrentConfig):
    """Settings of a recurrence with a gate that keeps the past (the LSTM's f, the GRU's z).

    Attributes:
        initialization: How weights are drawn at first. "orthogonal" recurrent matrices per gate and
            the forget bias below; "chrono", the same with gates that remember for 1 to
            longest_memory time steps; or "torch": every weight as torch's own layers draw it.
        forget_bias: Initial bias of the keeping gate. Used under "orthogonal"; a unit
            then remembers for about 1/(1 - sigmoid(bias)) time steps.
        longest_memory: Time steps that the slowest unit remembers. Used under "chrono".
    """

    initialization: Literal["orthogonal", "chrono", "torch"] = "orthogonal"  # type: ignore[assignment]
    forget_bias: float = bounded(0.0, at_least=-100, at_most=100)
    longest_memory: int = bounded(128, at_least=3, at_most=1 << 30)

    @property
    def has_keep_gate(self) -> bool:
        """Whether this variant has the gate."""
        return True

    def _check_own(self) -> None:
        super()._check_own()
        if not self.has_keep_gate and self.forget_bias != 0:
            raise ConfigError(f"forget_bias: this {self.model} has no gate that forgets")
        if not self.has_keep_gate and self.initialization == "chrono":
            raise ConfigError(f"initialization chrono: this {self.model} has no gate that forgets")


@dataclass(frozen=True, kw_only=True)
class WindowedConfig(ModelConfig):
    """Settings of layers that see a limited number of time steps.

    Attributes:
        context_length: Time steps that a layer sees, the present one included. Default: the
            family's.
    """

    default_context: ClassVar[int]

    context_length: int | None = bounded(None, at_least=1, at_most=MAX_SIZE)

    @property
    def context(self) -> int:
        """Time steps that each layer sees."""
        return self.context_length or self.default_context


def recurrent_family(
    config: type[RecurrentConfig],
    layer: Callable[[], Any],
    *,
    title: str,
    variants: Mapping[str, Mapping[str, Any]],
    not_in_torch: Mapping[str, str] | None = None,
) -> Family:
    """Return the family of a recurrent layer, whose options are the config's own settings.

    Args:
        config: Its settings.
        layer: Returns its class; called when a model is built, so that --help needs no torch.
        title: As `Family` has it, like the others.
        variants: As `Family` has it.
        not_in_torch: As `Family` has it.
    """

    def build(settings: RecurrentConfig, input_size: int | None) -> Any:
        from carousel.models.recurrent import RecurrentBackbone

        made = layer()(**settings.layer_arguments, **settings.layer_options)
        if not isinstance(settings, GatedConfig):
            return RecurrentBackbone(made, settings.dropout)
        return RecurrentBackbone(
            made,
            settings.dropout,
            forget_bias=settings.forget_bias,
            longest_memory=settings.longest_memory if settings.initialization == "chrono" else None,
        )

    return Family(
        name=str(config.__dataclass_fields__["model"].default),
        title=title,
        config=config,
        build=build,
        variants=variants,
        layer=layer,
        not_in_torch=not_in_torch or {},
    )
