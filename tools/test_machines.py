"""Run the tests that depend on arithmetic on emulated processors.

    python tools/test_machines.py            every emulated processor, one and two threads
    python tools/test_machines.py --quick    two of them, the most sensitive tests, 4 minutes

An emulated processor is this one with fewer vector instructions: torch, oneDNN, MKL and the kernels
are limited alike, each by a variable of its own. A product of matrices then sums in another order,
as it would on such a machine, and a test that asks for the same bits where nothing promises them
fails. What this processor lacks cannot be emulated; the table names it.

The last line has the totals, in pytest's words. Exit code 1: a test failed, or the kernels could
not be compiled.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from carousel.kernels.instruction_set import INSTRUCTION_SETS, NO_LIMIT, of_processor

ROOT = Path(__file__).parents[1]

LIMITS = {  # of torch, oneDNN and MKL; a processor without a limit has no entry
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "avx512_bf16": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512_E3",
    },
    "amx": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512_E4",
    },
}
ARITHMETIC = [
    "tests/ops", "tests/kernels", "tests/nn", "tests/models", "tests/generation",
    "tests/training", "tests/verify", "tests/mutation", "tests/pages", "tests/forecasting",
    "tests/inspection", "tests/cli/test_families.py", "tests/cli/test_kernels_command.py",
    "tests/cli/test_verify_command.py", "tests/test_artefacts.py",
]  # fmt: skip
QUICK = [
    "tests/kernels", "tests/ops/test_recurrences.py", "tests/models/test_sequence_model.py",
    "tests/models/test_streaming_law.py", "tests/models/test_from_ids.py",
    "tests/generation/test_engine_bits.py",
    *(
        f"tests/training/test_exact_resume.py::test_{name}"
        for name in ("two_uninterrupted_runs_are_the_same", "stopped_at_every_step")
    ),
    # No vector instruction changes what these assert; `make test` runs them.
    *(f"--ignore=tests/kernels/test_{name}.py" for name in ("build", "forking", "memory")),
]  # fmt: skip
QUICK_ON_THE_FIRST = ["tests/pages/test_page_figures.py"]  # of the quick machines


class Machine(NamedTuple):
    """An emulated processor, and the number of threads that torch computes with."""

    instructions: str
    threads: int


class Outcome(NamedTuple):
    """What became of the tests on a machine."""

    machine: Machine
    passed: int
    failed: int
    skipped: int
    seconds: float
    is_ok: bool


def main() -> int:
    """Run the tests on each machine, print a table; return the exit code."""
    arguments, pytest_arguments = _parser().parse_known_args()
    machines, absent = plan(arguments.quick, arguments.only, arguments.threads)
    for name, reason in absent.items():
        print(f"{name:<12} left out: {reason}", flush=True)
    outcomes: list[Outcome] = []
    for machine, is_built in zip(machines, build_kernels(machines), strict=True):
        tests = QUICK if arguments.quick else ARITHMETIC
        if arguments.quick and not outcomes:
            tests = [*QUICK, *QUICK_ON_THE_FIRST]
        outcomes.append(run(machine, [*tests, *pytest_arguments], is_built))
    print("\n".join(table(outcomes)))
    return 0 if outcomes and all(outcome.is_ok for outcome in outcomes) else 1


def plan(
    is_quick: bool, only: list[str] | None, threads: list[int]
) -> tuple[list[Machine], dict[str, str]]:
    """Return the machines to emulate, and those left out, each with the reason."""
    widest = of_processor()
    possible = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(widest) + 1]
    if is_quick:
        narrow = [name for name in possible if name in ("avx2", "avx512")]
        return [Machine(narrow[0], 1), Machine(narrow[-1], 2)], {}
    absent = {name: "not on this processor" for name in INSTRUCTION_SETS if name not in possible}
    absent |= {widest: "the same as default here"}
    names = [NO_LIMIT, *(name for name in possible if name != widest)]
    if only:
        names = [name for name in only if name in (*names, widest)]
        absent = {
            name: reason for name, reason in absent.items() if name in only and name != widest
        }
    return [Machine(name, count) for name in names for count in threads], absent


def environment(machine: Machine) -> dict[str, str]:
    """Return the environment that makes this processor that machine."""
    limits = {name for limit in LIMITS.values() for name in limit}
    inherited = {k: v for k, v in os.environ.items() if k not in limits | {"CAROUSEL_CPU"}}
    # Threads that wait must sleep: two test processes of two threads share two cores.
    threads = {"OMP_NUM_THREADS": str(machine.threads), "OMP_WAIT_POLICY": "passive"}
    limit = {"CAROUSEL_CPU": machine.instructions} | LIMITS.get(machine.instructions, {})
    return inherited | threads | limit


def build_kernels(machines: list[Machine]) -> list[bool]:
    """Compile the kernels of all machines side by side; return which could be compiled."""
    command = [sys.executable, "-m", "carousel", "kernels", "build"]
    start = time.monotonic()
    builds = [subprocess.Popen(command, env=environment(each), cwd=ROOT) for each in machines]
    built = [process.wait() == 0 for process in builds]
    print(f"kernels of all machines: {time.monotonic() - start:.0f} seconds", flush=True)
    return built


def run(machine: Machine, tests: list[str], is_built: bool) -> Outcome:
    """Run the tests on a machine, if its kernels could be compiled, and print as they go."""
    print(f"== {machine.instructions}, {machine.threads} thread(s)", flush=True)
    start, env = time.monotonic(), environment(machine)
    if not is_built:
        return Outcome(machine, 0, 0, 0, 0.0, is_ok=False)
    lines = []
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not serial", *tests]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    counts = {word: int(number) for number, word in _counts(lines[-1] if lines else "")}
    failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    is_ok = process.returncode == 0 and counts.get("passed", 0) > 0
    seconds = time.monotonic() - start
    return Outcome(
        machine, counts.get("passed", 0), failed, counts.get("skipped", 0), seconds, is_ok
    )


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield a line for each machine, and the totals as pytest would word them."""
    yield "\ninstructions threads  passed  failed  skipped  seconds"
    for outcome in outcomes:
        machine = outcome.machine
        note = "" if outcome.is_ok or outcome.failed else "  no tests ran: see above"
        yield (
            f"{machine.instructions:<13}{machine.threads:>7}{outcome.passed:>8}{outcome.failed:>8}"
            f"{outcome.skipped:>9}{outcome.seconds:>9.0f}{note}"
        )
    passed, failed = (sum(getattr(o, name) for o in outcomes) for name in ("passed", "failed"))
    yield f"{passed} passed, {failed} failed"


def _counts(line: str) -> list[tuple[str, str]]:
    return re.findall(r"(\d+) (passed|failed|skipped|errors?)", line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two machines, few tests: 4 minutes")
    parser.add_argument("--only", nargs="+", choices=(NO_LIMIT, *INSTRUCTION_SETS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.epilog = "Other arguments are pytest's: -k WORDS, -x, a file."
    return parser


if __name__ == "__main__":
    sys.exit(main())
