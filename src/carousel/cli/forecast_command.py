"""The arguments of `carousel forecast`, as a dataclass."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro

from carousel.cli.model_choice import check_flags
from carousel.cli.parse import parse, parse_some, usage_error
from carousel.errors import ConfigError
from carousel.forecast_settings import ForecastSettings, small_model
from carousel.forecasting.numbers import Decimal
from carousel.forecasting.order import Order
from carousel.forecasting.task import Target
from carousel.models.config import ModelConfig
from carousel.training.supervised_config import SupervisedConfig

STDIN = Path("-")


PROG = "carousel forecast"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Fit a model to a time series, and compare its forecasts with those that learn nothing.

    The first 70 % of the rows are learned from, the next 15 % say when to stop, and the last 15 %
    judge: each value is forecast from the true ones before it.

    Dates say which row is the oldest: a table whose newest row stands first is read in reverse.
    Whatever was understood that could be otherwise is printed.

    Attributes:
        data: CSV file: commas, semicolons, tabs or bars, with a header or without; - for stdin.
        column: Its name, or its number from 1. Default: the last column of numbers that does not
            count the rows, as years do.
        encoding: Of the file.
        decimal: What stands before decimals, a point or a comma. auto: as the column shows;
            1,234 alone may be either.
        order: Of the rows: auto begins with the oldest, where there are dates; file takes them as
            they stand, reverse begins with the last.
        window: Numbers that a forecast is made from.
        target: What the model reads and answers: each "value", or each "change" from the last one,
            which is then added to it. What grows is foreign to a model that knows its values only.
        log: Work on logarithms: for what changes by percentages. All values must be above 0.
        season: Rows of a season, for the baseline. Default: as the training part suggests.
        seeds: Fits, from --seed on; the table has their mean and standard deviation.
        ahead: Rows to forecast beyond the end, each from the forecasts before it.
        out: Folder to write to. Default: runs/NAME, after the file.
        json: Print one JSON object instead of the table.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA.csv")]
    column: str | None = None
    encoding: str = "utf-8"
    decimal: Decimal = "auto"
    order: Order = "auto"
    window: int = ForecastSettings.window
    target: Target = "change"
    log: bool = False
    season: int | None = None
    seeds: int = ForecastSettings.seeds
    ahead: int = ForecastSettings.ahead
    out: Path | None = None
    json: bool = False
    model: ModelConfig = field(default_factory=lambda: small_model("lstm"))
    fit: SupervisedConfig = field(default_factory=SupervisedConfig)

    def __post_init__(self) -> None:
        """Check the settings, before the file is read."""
        _ = self.settings

    @property
    def settings(self) -> ForecastSettings:
        """The settings of the library call."""
        names = [each.name for each in fields(ForecastSettings)]
        return ForecastSettings(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The flag that decides which others there are."""

    model: str = "lstm"


def read_command(arguments: list[str]) -> Forecast:
    """Parse the arguments, with the settings of the family that --model names.

    Exits with code 0 after --help, and 2 after one line where the usage is wrong.
    """
    chosen = parse_some(_Choice, [a for a in arguments if a not in ("-h", "--help")], prog=PROG)
    try:
        model = small_model(chosen.model)
    except ConfigError as error:
        usage_error(str(error), PROG)
    check_flags(arguments, type(model), PROG)
    return parse(Forecast, arguments, prog=PROG, default=Forecast(data=tyro.MISSING, model=model))
