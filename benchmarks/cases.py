"""What is measured: a reference configuration, and one axis at a time around it.

T time steps, B sequences, D features, H units, L layers; V tokens of a language model.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Family = Literal["lstm", "gru", "rnn"]
Task = Literal["training", "inference", "language model", "step"]

GATES: dict[Family, int] = {"lstm": 4, "gru": 3, "rnn": 1}
V = 96


class Shape(NamedTuple):
    """Sizes of a stack of recurrent layers and of what it reads."""

    T: int = 128
    B: int = 64
    D: int = 64
    H: int = 256
    L: int = 1


REFERENCE = Shape()
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "batch": ("B", (1, 4, 16, 64, 128, 256, 512)),
    "length": ("T", (16, 64, 128, 512, 1024, 4096)),
    "width": ("H", (64, 128, 256, 512, 1024)),
    "layers": ("L", (1, 2, 3)),
}
_SHORT_AXES = {"batch": ("B", (1, 64)), "length": ("T", (16, 128)), "width": ("H", (64, 256, 512))}

# Ours and torch's, at the same precision. bf16 is autocast; a bf16 module has bf16 parameters.
PAIRS = (("fused f32", "nn f32"), ("fused bf16", "nn bf16"))
PAIRED = tuple(way for pair in PAIRS for way in pair)
MODULES = ("fused bf16 module", "nn bf16 module")
_SLOW = ("bptt f32", "textbook f32")
_LOOKED_UP = "fused bf16, looked up"  # an embedding's vectors, as if there were no path from ids
_OTHERS: tuple[Family, ...] = ("gru", "rnn")
UNROLLED = 32  # time steps that torch.compile is given: its time grows with them


class Case(NamedTuple):
    """Ways to do one thing, measured in turns.

    Attributes:
        family: Of the recurrence.
        task: "training" is a layer forward and backward, with the gradient of its input;
            "inference" its forward without one; "language model" from ids to loss and back;
            "step" a whole step of training by the recipe `story`.
        shape: The sizes.
        threads: How many compute.
        ways: Who takes part; implementations.py knows them.
        least: Rounds at least.
        ours_least: Rounds of our ways at least.
        seconds: After the least, rounds go on for so long, up to MOST.
        is_sweep: Whether it is a point of the sweeps.
    """

    family: Family
    task: Task
    shape: Shape
    threads: int
    ways: tuple[str, ...]
    least: int = 9
    ours_least: int = 9
    seconds: float = 3.0
    is_sweep: bool = False

    @property
    def name(self) -> str:
        """What tells it from all others, in words."""
        return f"{self.family} {self.task}, {sizes(self.shape)}, {counted(self.threads)}"

    @property
    def flops(self) -> int:
        """Of the matrix products of the recurrence, two for each multiplication and addition."""
        t, b, d, h, layers = self.shape
        rows = GATES[self.family] * h
        forward = 2 * t * b * sum(rows * ((h if layer else d) + h) for layer in range(layers))
        return forward if self.task == "inference" else 3 * forward


def sizes(shape: Shape) -> str:
    """Return a shape as T128 B64 D64 H256 L1."""
    return " ".join(f"{axis}{size}" for axis, size in shape._asdict().items())


def counted(threads: int) -> str:
    """Return 1 thread, 2 threads."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def short(threads: Iterable[int]) -> list[Case]:
    """Return what a change is judged by, in less than two minutes."""
    *fewer, most = sorted(threads)
    few = [_case("lstm", "training", count, *PAIRED, *MODULES, seconds=1.5) for count in fewer]
    cases = [*few, *_reference(most, seconds=1.5)]
    return cases + _sweeps(most, _SHORT_AXES, ("lstm",), least=5, seconds=1.0)


def long(threads: Iterable[int]) -> list[Case]:
    """Return everything: the reference for each number of threads, the sweeps for the largest."""
    counts = sorted(threads)
    cases = [case for count in counts for case in _reference(count, seconds=4.0)]
    unrolled = _case(
        "lstm", "training", counts[-1], *PAIRED, "textbook f32", "compiled f32", seconds=4.0
    )
    unrolled = unrolled._replace(shape=REFERENCE._replace(T=UNROLLED))
    sweeps = _sweeps(counts[-1], AXES, ("lstm", *_OTHERS), least=3, seconds=1.5)
    return [*cases, unrolled, *sweeps]


def _reference(threads: int, seconds: float) -> list[Case]:
    """Return the cases of the reference configuration, which bars stand on."""
    cases = [
        _case("lstm", "training", threads, *PAIRED, *MODULES, *_SLOW, seconds=seconds),
        _case("lstm", "inference", threads, *PAIRED, *MODULES, seconds=seconds),
        _case("lstm", "language model", threads, *PAIRED, _LOOKED_UP, seconds=seconds),
        _case("lstm", "step", threads, *PAIRED, "nn in our step f32", seconds=seconds),
    ]
    for family in _OTHERS:
        cases.append(_case(family, "training", threads, *PAIRED, "bptt f32", seconds=seconds))
        cases.append(_case(family, "inference", threads, *PAIRED, seconds=seconds))
    return cases


def _case(family: Family, task: Task, threads: int, *ways: str, seconds: float) -> Case:
    return Case(family, task, REFERENCE, threads, ways, seconds=seconds)


def _sweeps(
    threads: int,
    axes: dict[str, tuple[str, tuple[int, ...]]],
    families: tuple[Family, ...],
    *,
    least: int,
    seconds: float,
) -> list[Case]:
    """Return the points around the reference, which is a case already."""
    points = [
        REFERENCE._replace(**{letter: size}) for letter, values in axes.values() for size in values
    ]
    longest = max(point.T for point in points)
    return [
        Case(
            family,
            task,
            point,
            threads,
            PAIRED,
            least=least,
            # How the cost grows with the length is a bar of its own.
            ours_least=9 if (family, task, point.T) == ("lstm", "training", longest) else least,
            seconds=seconds,
            is_sweep=True,
        )
        for family in families
        for task in ("training", "inference")
        for point in points
        if point != REFERENCE
    ]
