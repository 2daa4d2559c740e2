"""What `carousel train` shows: the plan, the progress, samples, and how it ended. All on stderr."""

from dataclasses import dataclass, field
from textwrap import wrap
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from carousel.cli.console import NARROW, can_redraw, console, nats
from carousel.cli.progress import VisibleProgress
from carousel.cli.terminal import printable
from carousel.training.trainer import StepReport


@dataclass
class Display:
    """The live account of a run: a bar on a terminal, plain lines elsewhere.

    Attributes:
        steps: Where the schedule ends.
        characters_per_step: B · T.
        floor: Least possible validation loss, where it is known.
        seconds: Spent in optimiser steps so far.
        done: Steps taken by this process.
    """

    steps: int
    characters_per_step: int
    floor: float | None
    seconds: float = 0.0
    done: int = 0
    average: float | None = None
    _bar: VisibleProgress = field(init=False)
    _task: TaskID = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the bar."""
        speed = TextColumn("{task.fields[speed]} characters/s")
        is_wide = console.width >= NARROW
        self._bar = VisibleProgress(
            *((TextColumn("training"), BarColumn()) if is_wide else ()),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]} "),
            *((speed,) if is_wide else ()),
            TimeRemainingColumn(),
            console=console,
            disable=not can_redraw(console),
        )
        self._task = self._bar.add_task("training", total=self.steps, loss="…", speed="…")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def speed(self) -> float:
        """Characters per second over the optimiser steps of this process."""
        return self.done * self.characters_per_step / self.seconds if self.seconds else 0.0

    def step(self, report: StepReport, seconds: float) -> None:
        """Count a step that took so long."""
        self.seconds += seconds
        self.done += 1
        before = report.loss if self.average is None else self.average
        self.average = 0.9 * before + 0.1 * report.loss
        self._bar.update(
            self._task,
            completed=report.step,
            loss=f"{self.average:.3f}",
            speed=f"{self.speed:,.0f}",
        )

    def validation(self, step: int, loss: float, is_best: bool) -> None:
        """Print the validation loss."""
        line = f"step {step:>6,}  validation {nats(loss)}"
        if self.floor is not None:
            line += f", {loss - self.floor:.3f} above the floor"
        style = "bold" if is_best else "dim"  # of a Text: print's would be the bar's, too
        console.print(Text(line + ("" if is_best else "  (not the best)"), style=style))

    def sample(self, prompt: str, text: str) -> None:
        """Show what the model writes now."""
        for line in printable(prompt + text).strip("\n").split("\n"):
            for row in wrap(line, max(10, min(console.width, 100) - 6)) or [""]:
                console.print(Text(f"    │ {row}", style="cyan"))
