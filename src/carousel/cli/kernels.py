"""`carousel kernels`: compile the C++ kernels ahead of time, or say what runs here, and why."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import tyro

from carousel.cli.console import console
from carousel.cli.parse import parse
from carousel.cli.terminal import folded, width
from carousel.json_text import dump_json

if TYPE_CHECKING:
    import torch

    from carousel.verify.recurrences import RecurrentSpec

LATER = "not compiled yet; compiled on first use or by carousel kernels build"
WORDS = {None: "kernel", LATER: "not yet"}


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Compile the C++ kernels ahead of time, or show what runs on this machine, and why.

    build compiles them unless that was done. status shows what runs each recurrence in float32 and
    in bfloat16; it compiles nothing. Without kernels everything works, but slower.
    CAROUSEL_KERNELS=off turns them off, CAROUSEL_KERNEL_CACHE sets the folder of compiled ones,
    CAROUSEL_CPU=avx2, avx512 or avx512_bf16 limits their instructions.

    Attributes:
        action: What to do.
        json: Print one JSON object.
    """

    action: tyro.conf.Positional[Literal["build", "status"]]
    json: bool = False


def main(arguments: list[str]) -> int:
    """Build, or say how things stand; return the exit code."""
    command = parse(Kernels, arguments, prog="carousel kernels")
    return _build(command.json) if command.action == "build" else _status(command.json)


def _build(as_json: bool) -> int:
    """Compile, and load what came of it; who compiles says how long it takes, and where it lies."""
    import torch

    from carousel.kernels import build, fused

    was_there = build.is_whole(_entry())
    library = build.library()
    if was_there:
        console.print_line(f"compiled already: {library}")
    reason = fused.unavailable_reason(torch.float32)
    setting = os.environ.get("CAROUSEL_KERNELS", "auto")
    if setting == "off":
        console.print("note: the layers do without: CAROUSEL_KERNELS=off", style="yellow")
    if as_json:
        print(
            dump_json(
                {"library": str(library), "was_there": was_there, "unavailable_reason": reason}
            )
        )
    return 1 if reason and setting == "auto" else 0


class Status(NamedTuple):
    """How things stand.

    Attributes:
        setting: Of CAROUSEL_KERNELS.
        cpu_limit: Of CAROUSEL_CPU; "default" where it is not set.
        processor: Its vectors, as torch calls them.
        multiplies_bf16: Whether it does so natively.
        compiler: What would compile; None: nothing.
        library: Where it is, or would be; None: there is none for such a processor.
        is_compiled: Whether it is there, whole.
        unavailable_reason: Why no kernel runs at all; None if some do.
        unsupported_reasons: By recurrence and compute dtype, why no kernel runs it; None:
            one does.
    """

    setting: str
    cpu_limit: str
    processor: str
    multiplies_bf16: bool
    compiler: str | None
    library: Path | None
    is_compiled: bool
    unavailable_reason: str | None
    unsupported_reasons: dict[str, dict[str, str | None]]


def _status(as_json: bool) -> int:
    with _silent():  # the table says it
        status = examine()
    if as_json:
        library = None if status.library is None else str(status.library)
        print(dump_json(status._asdict() | {"library": library}))
    else:
        print("\n".join([*_facts(status), "", *_table(status)]))
    return 0


@contextmanager
def _silent() -> Iterator[None]:
    """Log only errors inside the block."""
    log = logging.getLogger("carousel")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def examine() -> Status:
    """Ask everything that decides what runs, and run what can; compile nothing."""
    import torch

    from carousel.errors import CarouselError
    from carousel.kernels import build, compiler, fused
    from carousel.kernels.instruction_set import NO_LIMIT, multiplies_bf16
    from carousel.verify.recurrences import RECURRENCES

    command, library, is_compiled, reason = None, None, False, LATER
    try:
        command = " ".join(compiler.compiler())
    except CarouselError as error:
        reason = str(error)
    try:
        library = _entry() / build.LIBRARY
        is_compiled = build.is_whole(library.parent)
    except CarouselError as error:
        reason = str(error)
    setting = os.environ.get("CAROUSEL_KERNELS", "auto")
    why = fused.unavailable_reason(torch.float32) if is_compiled or setting != "auto" else reason
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return Status(
        setting=setting,
        cpu_limit=os.environ.get("CAROUSEL_CPU") or NO_LIMIT,
        processor=torch.backends.cpu.get_cpu_capability(),
        multiplies_bf16=multiplies_bf16(),
        compiler=command,
        library=library,
        is_compiled=is_compiled,
        unavailable_reason=why,
        unsupported_reasons={
            spec.name: {name: _reason(spec, of, why) for name, of in dtypes.items()}
            for spec in RECURRENCES.values()
        },
    )


def _entry() -> Path:
    """Return where in the cache the library for this machine is kept."""
    from carousel.kernels import build, compiler

    return build.trusted_folder() / build.key(compiler.compiler_flags())


def _reason(spec: "RecurrentSpec", compute_dtype: "torch.dtype", why: str | None) -> str | None:
    """Return why no kernel runs the smallest recurrence of a kind; None: one did.

    Where something is in the way of all, the kernels are not asked: they would be compiled for it.
    """
    import torch

    from carousel.kernels import fused
    from carousel.ops.recurrence import Masks
    from carousel.verify.op_spec import shapes
    from carousel.verify.recurrences import arguments

    sizes = dict.fromkeys("TBDHP", 1) | {"G": spec.family.gates}
    inputs = {name: torch.ones(s) for name, s in shapes(spec.differentiable, sizes).items()}
    source, state, weights = arguments(inputs)
    masks = Masks((None,) * len(state))
    call = fused.Call(spec.family, source, weights, masks, compute_dtype)
    reason = fused.unsupported_call(call) or why or fused.unavailable_reason(compute_dtype)
    if reason is None:
        try:
            fused.INFER[compute_dtype](spec.family, source, state, weights, masks)
        except RuntimeError as error:
            return str(error).splitlines()[0]
    return reason


def _facts(status: Status) -> list[str]:
    from carousel.kernels.instruction_set import NO_LIMIT

    library = "there is none for this processor"
    if status.library is not None:
        library = str(status.library) if status.is_compiled else f"would be {status.library}"
    limit = "" if status.cpu_limit == NO_LIMIT else f", CAROUSEL_CPU={status.cpu_limit}"
    natively = "multiplies" if status.multiplies_bf16 else "does not multiply"
    kernels = f"none runs: {status.unavailable_reason}" if status.unavailable_reason else "run"
    facts = {
        "setting": f"CAROUSEL_KERNELS={status.setting}" + limit,
        "processor": f"{status.processor}; {natively} bfloat16 natively",
        "compiler": status.compiler or "none",
        "library": library,
        "kernels": LATER if status.unavailable_reason == LATER else kernels,
    }
    columns = width(sys.stdout)
    return [folded(f"{name:<11}", text, columns) for name, text in facts.items()]


def _table(status: Status) -> list[str]:
    """Return what runs each recurrence, and where it is no kernel for reasons of its own, why."""
    dtypes = list(next(iter(status.unsupported_reasons.values())))
    lines = [_row("recurrence", dtypes)]
    for name, of in status.unsupported_reasons.items():
        own = {
            key: reason
            for key, reason in of.items()
            if reason not in (None, status.unavailable_reason)
        }
        is_shared = len(own) == len(of) and len(set(own.values())) == 1
        why = own[dtypes[0]] if is_shared else "; ".join(f"{k}: {r}" for k, r in own.items())
        words = [WORDS.get(of[compute_dtype], "bptt") for compute_dtype in dtypes]
        lines.append(folded(_row(name, words), why or "", width(sys.stdout)))
    return [line.rstrip() for line in lines]


def _row(name: str, words: list[str]) -> str:
    return f"{name:<18}" + "".join(f"{word:<10}" for word in words)
