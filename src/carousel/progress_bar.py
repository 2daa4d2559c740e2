"""A progress bar for training from Python: on stderr, numbers only."""

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from carousel.training.fit import Validation
from carousel.training.prepared_run import Started
from carousel.training.run_events import RunEvent
from carousel.training.trainer import StepReport


class ProgressBar:
    """Show a run as a bar on a terminal or in a notebook, and each validation as a line.

    It prints numbers of ours alone, nothing from a text or a name, which a terminal could obey.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]} characters/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (self._console.is_terminal or self._console.is_jupyter),
        )
        self._task = self._bar.add_task("training", total=None, loss="…", speed="…")
        self._average: float | None = None
        self._per_step, self._done, self._start = 0, 0, math.nan

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: RunEvent) -> None:
        """Show an event."""
        match event:
            case Started():
                config = event.trainer.config
                self._per_step = config.batch_size * config.sequence_length
                self._start = time.perf_counter()
                self._bar.update(self._task, total=event.trainer.steps)
                self._bar.start()
            case StepReport():
                self._step(event)
            case Validation():
                bits = event.loss / math.log(2)
                best = "" if event.is_best else "  (not the best)"
                self._console.print(
                    f"step {event.step:>6,}  validation {event.loss:.4f} nats "
                    f"({bits:.3f} bits) per character{best}"
                )

    def _step(self, report: StepReport) -> None:
        """Move the bar by one step."""
        before = report.loss if self._average is None else self._average
        self._average = 0.9 * before + 0.1 * report.loss
        self._done += 1
        speed = self._done * self._per_step / max(1e-9, time.perf_counter() - self._start)
        self._bar.update(
            self._task, completed=report.step, loss=f"{self._average:.3f}", speed=f"{speed:,.0f}"
        )
