"""Results whose times are made up, and a clock that tells what it is told."""

from collections.abc import Callable

from benchmarks.cases import REFERENCE, Case, Family, Task
from benchmarks.figures import Measured, Result


def planted(
    times: dict[str, list[float]],
    family: Family = "lstm",
    task: Task = "training",
    threads: int = 2,
    memory: dict[str, float] | None = None,
    is_sweep: bool = False,
    **sizes: int,
) -> Result:
    """A result with these milliseconds."""
    case = Case(family, task, REFERENCE._replace(**sizes), threads, tuple(times), is_sweep=is_sweep)
    memory = memory or {}
    return Result(case, {way: Measured(ms, memory.get(way)) for way, ms in times.items()})


class Clock:
    """Stands still but for what passes take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, *seconds: float) -> Callable[[], None]:
        """A pass that takes these seconds in turn, the last one for ever after."""
        left = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run
