"""`carousel forecast`: a column of a CSV file, a model fitted to it, and what it is worth."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.cli.console import console, one_thread, rows
from carousel.cli.forecast_command import STDIN, read_command
from carousel.cli.forecast_command import Forecast as Forecast
from carousel.cli.runs import new_run, run_name
from carousel.errors import DataError, RunError
from carousel.input_files import TABLE_LIMIT, read_input, read_stream
from carousel.plain_paths import readable, resolved

if TYPE_CHECKING:
    from carousel.forecasting.task import Task


def main(arguments: list[str]) -> int:
    """Forecast, print the table to stdout, and return the exit code."""
    command = read_command(arguments)
    out = None if command.out is None else _free_folder(command.out)  # before anything takes long
    task = _task(command)
    path = out or new_run(
        run_name(readable(command.data.stem) if command.data != STDIN else "stdin")
    )
    from carousel.cli.forecast_files import write
    from carousel.cli.forecast_report import as_json, show
    from carousel.cli.forecast_run import run

    with one_thread():
        report = run(command, task, path)
    console.print()
    if command.json:
        print(as_json(report))
    else:
        show(report)
    sys.stdout.flush()  # before what follows on stderr
    write(report, resolved(path))
    names = ("forecast.csv", "forecast.json", "forecast.png", "forecast.svg")
    rows({"files": ", ".join(str(path / name) for name in names)})
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


def _task(command: Forecast) -> "Task":
    """Read the series and frame it."""
    from carousel.forecasting.table import parse_series
    from carousel.forecasting.task import frame

    if command.data == STDIN:
        data, name = read_stream(sys.stdin.buffer, TABLE_LIMIT, "stdin"), "stdin"
    elif command.data.is_dir():
        raise DataError(f"{command.data} is a folder: name a CSV file")
    elif not command.data.exists():
        raise DataError(f"no such file: {command.data}")
    else:
        data, name = read_input(command.data, TABLE_LIMIT), readable(command.data.name)
    series = parse_series(
        data,
        name,
        column=command.column,
        encoding=command.encoding,
        decimal=command.decimal,
        order=command.order,
    )
    try:
        return frame(series, window=command.window, target=command.target, is_log=command.log)
    except DataError as error:
        if choice := series.notes.get("column"):  # which nobody named
            raise DataError(f"{error} (column {choice})") from None
        raise
