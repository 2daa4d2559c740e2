"""`carousel forecast`: fit a model to a column of a CSV file and compare it with baselines."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.cli.console import console, one_thread, rows
from carousel.cli.forecast_command import STDIN, read_command
from carousel.cli.forecast_command import Forecast as Forecast
from carousel.cli.runs import new_run, run_name
from carousel.errors import RunError
from carousel.input_files import TABLE_LIMIT, read_stream
from carousel.json_text import dump_json
from carousel.plain_paths import readable, resolved

if TYPE_CHECKING:
    from carousel.forecasting.table import Series


def main(arguments: list[str]) -> int:
    """Forecast, print the table to stdout, and return the exit code."""
    command = read_command(arguments)
    out = None if command.out is None else _free_folder(command.out)  # before anything takes long
    series = _series(command)
    path = out or new_run(
        run_name(readable(command.data.stem) if command.data != STDIN else "stdin")
    )
    from carousel.cli.forecast_report import show
    from carousel.cli.forecast_run import run
    from carousel.forecast_api import plan_forecast
    from carousel.forecast_report import FILES

    with one_thread():
        plan = plan_forecast(series, command.settings, command.model, command.fit)
        report = run(plan, path)
    console.print()
    if command.json:
        print(dump_json(report.facts()))
    else:
        show(report)
    sys.stdout.flush()  # before the lines on stderr
    report.save(resolved(path))
    rows({"files": ", ".join(str(path / name) for name in FILES)})
    return 0


def _free_folder(folder: Path) -> Path:
    """Return the folder to write to, as it was typed.

    Raises:
        RunError: If it is there already, or cannot be.
    """
    out = resolved(folder)
    if os.path.lexists(out):
        raise RunError(f"--out {folder} is there already; name another folder")
    above = next(path for path in out.absolute().parents if path.exists())
    if not above.is_dir():
        raise RunError(f"--out {folder}: {above} is a file")
    return folder


def _series(command: Forecast) -> "Series":
    """Read the column."""
    from carousel.forecast_api import read_series
    from carousel.forecasting.table import parse_series

    if command.data == STDIN:
        data = read_stream(sys.stdin.buffer, TABLE_LIMIT, "stdin")
        read = partial(parse_series, data, "stdin")
    else:
        read = partial(read_series, command.data)
    return read(
        column=command.column,
        encoding=command.encoding,
        decimal=command.decimal,
        order=command.order,
    )
