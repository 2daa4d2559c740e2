"""What `carousel forecast` writes: a folder that is there whole or not at all."""

import csv
import io
from pathlib import Path

from carousel.cli.forecast_report import facts
from carousel.cli.forecast_run import Report
from carousel.cli.json_output import dump_json
from carousel.files import make_folder, publishing, remove_made
from carousel.forecasting.evaluation import held_out
from carousel.inspection.forecasts import ForecastPicture, forecast_plot


def write(report: Report, path: Path) -> None:
    """Write forecast.csv, forecast.json and the plot.

    Raises:
        OSError: If the disk refuses, or something of this name has come into being.
    """
    made = make_folder(path.parent)
    try:
        _publish(report, path)
    except BaseException:
        remove_made(made)
        raise


def _publish(report: Report, path: Path) -> None:
    with publishing(path) as folder:
        (folder / "forecast.csv").write_bytes(table(report).encode())
        (folder / "forecast.json").write_text(dump_json(facts(report), indent=1) + "\n", "utf-8")
        forecast_plot(_picture(report), folder / "forecast")


def table(report: Report) -> str:
    """Return the forecasts of all held-out rows and of those beyond the end, one row each.

    Columns: row (its label, or +k beyond the end), part, truth, forecast (of the seed that does
    best on the validation part), each seed's where there are several, and each baseline's.
    """
    task, places = report.task, held_out(report.task)
    seeds = report.fits if len(report.fits) > 1 else []
    names = [f"seed {fit.seed}" for fit in seeds] + [each.name for each in report.baselines]
    judged = [report.chosen.judged, *(fit.judged for fit in seeds), *report.baselines]
    ahead = [report.chosen.ahead, *(fit.ahead for fit in seeds)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "part", "truth", "forecast", *names])
    columns = [each.forecast.tolist() for each in judged]
    for place, *values in zip(places, *columns, strict=True):
        part = "validation" if place in task.parts.validation else "test"
        truth = task.series.values[place].item()
        writer.writerow([task.series.labels[place], part, truth, *values])
    for k in range(report.command.ahead):
        blanks = [""] * len(report.baselines)
        writer.writerow([f"+{k + 1}", "ahead", "", *(each[k].item() for each in ahead), *blanks])
    return text.getvalue()


def _picture(report: Report) -> ForecastPicture:
    """Return what is drawn: of the baselines the one with the least RMSE on the test part."""
    task, chosen = report.task, report.chosen
    model = report.command.model.model
    best = min(report.baselines, key=lambda baseline: baseline.test.rmse)
    return ForecastPicture(
        name=task.series.column,
        labels=task.series.labels,
        truth=task.series.values,
        validation=task.parts.validation,
        model=f"{model}, seed {chosen.seed}" if len(report.fits) > 1 else model,
        forecast=chosen.judged.forecast,
        baseline=best.name,
        baseline_forecast=best.forecast,
        ahead=chosen.ahead,
    )
