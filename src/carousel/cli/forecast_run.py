"""What `carousel forecast` shows while models are fitted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from carousel.cli.console import NARROW, can_redraw, console, rows
from carousel.cli.progress import VisibleProgress
from carousel.forecast_api import ForecastPlan, Progress
from carousel.forecast_report import ForecastFit, ForecastReport
from carousel.training.supervised import Epoch


def run(plan: ForecastPlan, path: Path) -> ForecastReport:
    """Announce a forecast, compute it, and return what it found."""
    _announce(plan, path)
    return plan.report([_fit(plan, seed) for seed in plan.seeds])


def _fit(plan: ForecastPlan, seed: int) -> ForecastFit:
    """Fit one model under a progress bar, and print how it went."""
    with _progress(seed, plan.fit.epochs) as show:
        fit = plan.run_seed(seed, show)
    validation = fit.judged.validation
    console.print(
        f"seed {seed}   best at epoch {fit.end.best_epoch:,} of {fit.end.epochs:,}: validation "
        f"RMSE {validation.rmse:.4g}, MAE {validation.mae:.4g}"
    )
    return fit


@contextmanager
def _progress(seed: int, epochs: int) -> Iterator[Progress]:
    """Yield a function that moves a bar on a terminal, and does nothing elsewhere."""
    with VisibleProgress(
        TextColumn("seed {task.description}"),
        *((BarColumn(),) if console.width >= NARROW else ()),
        MofNCompleteColumn(),
        TextColumn(f"{'epochs at most, validation ' * (console.width >= NARROW)}loss "),
        TextColumn("{task.fields[loss]}"),
        console=console,
        transient=True,
        disable=not can_redraw(console),
    ) as bar:
        task = bar.add_task(str(seed), total=epochs, loss="…")

        def show(_: int, epoch: Epoch) -> None:
            bar.update(task, completed=epoch.number, loss=f"{epoch.validation_loss:.4f}")

        yield show


def _announce(plan: ForecastPlan, path: Path) -> None:
    """Print how the table was read, and what will be computed."""
    task, model, settings = plan.task, plan.model, plan.settings
    series, parts = task.series, task.parts
    windows = len(task.places(parts.train))
    signal = "changes" if task.target == "change" else "values"
    shown = {
        "series": f"{series.name}: {len(series):,} values of {series.column}, from "
        f"{series.labels[0]} to {series.labels[-1]}",
        **series.notes,
        "parts": f"{len(parts.train):,} train, {len(parts.validation):,} validation, "
        f"{len(parts.test):,} test",
        "model": f"{model.model}{f' ({model.variant})' if model.variant else ''}, embedding "
        f"{model.embedding_size}, hidden {model.hidden_size}, layers {model.num_layers}: "
        f"{plan.parameters:,} parameters",
        "signal": f"{task.window} {signal}{' of logarithms' * task.is_log} to the next, scaled by "
        f"the training part's mean {task.scaling.mean:.4g} and deviation "
        f"{task.scaling.deviation:.4g}",
        "fit": f"{windows:,} windows, at most {plan.fit.epochs:,} epochs, adam "
        f"{plan.fit.learning_rate:g}, {settings.seeds} seed{'s' * (settings.seeds > 1)}",
    }
    if plan.season is None:
        shown["season"] = "the training part shows none; --season names one"
    elif settings.season is None:
        shown["season"] = (
            f"{plan.season} rows, as the training part suggests; --season names another"
        )
    rows(shown | {"run": str(path)})
