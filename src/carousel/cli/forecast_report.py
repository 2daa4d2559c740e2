"""The table that `carousel forecast` prints."""

import math
import statistics
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from carousel.cli.console import VisibleConsole, print_table
from carousel.cli.terminal import folded, printable, width
from carousel.forecast_report import ForecastReport
from carousel.forecasting.metrics import Accuracy


def show(report: ForecastReport) -> None:
    """Print the table to stdout, and below it what it comes to."""
    console = VisibleConsole(stderr=False)
    labels, test = report.task.series.labels, report.task.parts.test
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(f"test part, {len(test)} rows")
    for measure in ("MAE", "RMSE", "MASE"):
        table.add_column(measure, justify="right", no_wrap=True)
    judged = [fit.judged for fit in report.fits]
    largest = max(row.test.rmse for row in [*judged, *report.baselines])
    for rows in (judged, *([baseline] for baseline in report.baselines)):
        name = f"{rows[0].name}, {len(rows)} seeds" if len(rows) > 1 else rows[0].name
        table.add_row(Text(name), *cells([row.test for row in rows], largest))
    print_table(table, width(sys.stdout))
    console.print()
    console.print(report.verdict, style="bold", markup=False, soft_wrap=not console.is_terminal)
    units = (
        f"MAE and RMSE are in the units of {report.task.series.column}; each value "
        f"from {labels[test.start]} on is forecast from the true ones before it."
    )
    print(folded("", printable(units), console.width) if console.is_terminal else units)


def cells(found: Sequence[Accuracy], largest: float) -> list[str]:
    """Return MAE, RMSE and MASE; of several, mean ± standard deviation.

    Args:
        found: One or several.
        largest: Of all that stand below one another: it has four digits.
    """
    decimals = max(0, 4 - math.ceil(math.log10(largest))) if largest > 0 else 0
    places = (decimals, decimals, 3)
    measures = zip(*found, strict=True)
    return [_cell(values, digits) for values, digits in zip(measures, places, strict=True)]


def _cell(values: Sequence[float], decimals: int) -> str:
    mean = f"{statistics.fmean(values):,.{decimals}f}"
    return f"{mean} ± {statistics.stdev(values):,.{decimals}f}" if len(values) > 1 else mean
