"""Settings of a forecast; imports no torch."""

from dataclasses import dataclass
from typing import Any

from carousel.forecasting.task import Target
from carousel.limits import bounded, check_fields
from carousel.models.config import ModelConfig, model_config

SMALL = {"embedding_size": 16, "hidden_size": 32}  # for hundreds of numbers, not millions


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """How a series becomes a task, and what is done with it.

    Attributes:
        window: Numbers that a forecast is made from.
        target: Whether the model reads and answers each "value", or each "change" from the last
            one. Changes suit series that grow beyond the values of their training part.
        log: Work on logarithms, for changes by percentages. All values must be above 0.
        season: Rows of a season, for the baselines. None: estimated from the training part.
        seeds: Number of fits, with the seeds from `SupervisedConfig.seed` on.
        ahead: Rows to forecast beyond the end, each from the forecasts before it.
    """

    window: int = bounded(24, at_least=1)
    target: Target = "change"
    log: bool = False
    season: int | None = None
    seeds: int = bounded(1, at_least=1, at_most=1000)
    ahead: int = bounded(12, at_least=0, at_most=100_000)

    def __post_init__(self) -> None:
        """Check every field; ConfigError names the one that is wrong."""
        check_fields(self)


def small_model(name: str, **settings: Any) -> ModelConfig:
    """Return a family's config with sizes for hundreds of numbers, unless given."""
    return model_config({"model": name, **SMALL, **settings})
