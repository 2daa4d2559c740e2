"""The result of a forecast: as values, as CSV, and as files."""

import csv
import io
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.errors import RunError
from carousel.files import make_folder, publishing, remove_made
from carousel.forecasting.evaluation import Judged, held_out, in_words, verdicts
from carousel.forecasting.task import Task
from carousel.json_text import dump_json
from carousel.models.config import ModelConfig
from carousel.plain_paths import resolved
from carousel.training.supervised import FitResult
from carousel.training.supervised_config import SupervisedConfig

FILES = ("forecast.csv", "forecast.json", "forecast.png", "forecast.svg")


class ForecastFit(NamedTuple):
    """One fitted model and its forecasts.

    Attributes:
        seed: Seed of its initialisation and of the order of examples.
        end: How the fit ended.
        judged: Its forecasts of the held-out rows, and their errors.
        ahead: (M,) its forecasts beyond the end, in the units of the data.
    """

    seed: int
    end: FitResult
    judged: Judged
    ahead: NDArray[np.float64]


class ForecastReport(NamedTuple):
    """The result of `carousel.forecast`.

    Attributes:
        task: The series, its parts and its scaling.
        model: Settings of the model.
        fit: Settings of the fits.
        season: Rows of a season; None if none was given and none was found.
        fits: One for each seed.
        baselines: The baselines, judged on the same rows.
    """

    task: Task
    model: ModelConfig
    fit: SupervisedConfig
    season: int | None
    fits: list[ForecastFit]
    baselines: list[Judged]

    @property
    def chosen(self) -> ForecastFit:
        """The fit with the lowest validation loss, whatever its test error."""
        return min(self.fits, key=lambda fit: fit.end.best_loss)

    @property
    def ahead(self) -> NDArray[np.float64]:
        """The chosen fit's forecasts beyond the end, (M,), in the units of the data."""
        return self.chosen.ahead

    @property
    def verdict(self) -> str:
        """Return in a sentence whether the model beats the baselines on the test part."""
        return in_words(self.model.model, [fit.judged for fit in self.fits], self.baselines)

    def facts(self) -> dict[str, Any]:
        """Return all results, and all settings that reproduce them, as plain values for JSON."""
        judged = [fit.judged for fit in self.fits]
        task = self.task
        return {
            "data": task.series.name,
            "column": task.series.column,
            "rows": len(task.series),
            "order": task.series.order,
            "notes": task.series.notes,
            "parts": {name: len(part) for name, part in task.parts._asdict().items()},
            "window": task.window,
            "target": task.target,
            "log": task.is_log,
            "scaling": asdict(task.scaling),
            "season": self.season,
            "model": asdict(self.model),
            "fit": asdict(self.fit),
            "fits": [
                {
                    "seed": fit.seed,
                    "epochs": fit.end.epochs,
                    "best_epoch": fit.end.best_epoch,
                    **_errors(fit.judged),
                }
                for fit in self.fits
            ],
            "chosen_seed": self.chosen.seed,
            "baselines": {baseline.name: _errors(baseline) for baseline in self.baselines},
            "against_the_best_baseline": {
                verdict.measure.lower(): {
                    "baseline": verdict.baseline,
                    "excess": verdict.excess if math.isfinite(verdict.excess) else None,
                    "seeds_below": verdict.wins,
                }
                for verdict in verdicts(judged, self.baselines)
            },
            "verdict": self.verdict,
            "ahead": self.ahead.tolist(),
        }

    def table(self) -> str:
        """Return the forecasts of all held-out rows and of those beyond the end, as CSV.

        Columns: row (its label, or +k beyond the end), part, truth, forecast (of the chosen seed),
        each seed's if there are several, and each baseline's.
        """
        task, places = self.task, held_out(self.task)
        seeds = self.fits if len(self.fits) > 1 else []
        names = [f"seed {fit.seed}" for fit in seeds] + [each.name for each in self.baselines]
        judged = [self.chosen.judged, *(fit.judged for fit in seeds), *self.baselines]
        ahead = [self.ahead, *(fit.ahead for fit in seeds)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "part", "truth", "forecast", *names])
        columns = [each.forecast.tolist() for each in judged]
        for place, *values in zip(places, *columns, strict=True):
            part = "validation" if place in task.parts.validation else "test"
            truth = task.series.values[place].item()
            writer.writerow([task.series.labels[place], part, truth, *values])
        blanks = [""] * len(self.baselines)
        for k in range(len(self.ahead)):
            row = [each[k].item() for each in ahead]
            writer.writerow([f"+{k + 1}", "ahead", "", *row, *blanks])
        return text.getvalue()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write forecast.csv, forecast.json and the plot into a new folder, whole or not at all.

        Raises:
            RunError: If something of this name exists.
            OSError: If the disk refuses.
        """
        path = resolved(Path(folder))
        if os.path.lexists(path):
            raise RunError(f"{folder} is there already; name another folder")
        made = make_folder(path.parent)
        try:
            self._publish(path)
        except BaseException:
            remove_made(made)
            raise

    def _publish(self, folder: Path) -> None:
        from carousel.inspection.forecasts import forecast_plot  # late: matplotlib is slow to load

        with publishing(folder) as hidden:
            (hidden / "forecast.csv").write_bytes(self.table().encode())
            text = dump_json(self.facts(), indent=1) + "\n"
            (hidden / "forecast.json").write_text(text, "utf-8")
            forecast_plot(self._picture(), hidden / "forecast")

    def _picture(self) -> Any:
        """Return what is drawn; of the baselines the one with the lowest test RMSE."""
        from carousel.inspection.forecasts import ForecastPicture

        task, chosen, model = self.task, self.chosen, self.model.model
        best = min(self.baselines, key=lambda baseline: baseline.test.rmse)
        return ForecastPicture(
            name=task.series.column,
            labels=task.series.labels,
            truth=task.series.values,
            validation=task.parts.validation,
            model=f"{model}, seed {chosen.seed}" if len(self.fits) > 1 else model,
            forecast=chosen.judged.forecast,
            baseline=best.name,
            baseline_forecast=best.forecast,
            ahead=chosen.ahead,
        )


def _errors(judged: Judged) -> dict[str, dict[str, float]]:
    return {"validation": judged.validation._asdict(), "test": judged.test._asdict()}
