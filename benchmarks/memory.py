"""Peak memory of one pass, in a process of its own.

A nursery imports everything, computes nothing, and forks a child for each question: fresh, and
there at once. The child makes the contender ready at the smallest sizes and runs it (libraries and
threads are then there), makes it ready at the sizes asked for, resets the kernel's high-water mark
(VmHWM in /proc/self/status), runs it once, and reports how far the mark rose above what it held:
without torch itself, the model and its inputs. Linux only.

    python -m benchmarks.memory     reads a case a line, as JSON, and answers with a line
"""

# ruff: noqa: T201 - a process that answers on stdout

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import Case, Shape

ROOT = Path(__file__).parents[1]


class Nursery:
    """The process that forks; a context."""

    def __enter__(self) -> "Nursery":
        """Start it, and wait until it has imported everything."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.memory"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and a child that may be at work."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def peak(self, way: str, case: Case) -> float | None:
        """Return the MiB that a pass takes; None where that cannot be told."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"way": way, "case": case._asdict() | {"shape": case.shape._asdict()}}
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            return None
        mebibytes: float | None = json.loads(answer) if answer else None
        return mebibytes


def main() -> None:
    """Answer until there are no more questions."""
    import benchmarks.implementations  # noqa: F401 - children find it imported

    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        case = question["case"]
        case = Case(**case | {"shape": Shape(**case["shape"]), "ways": tuple(case["ways"])})
        print(json.dumps(_of_child(question["way"], case)), flush=True)


def _of_child(way: str, case: Case) -> float | None:
    """Return what a child measures; None if it comes to grief."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.write(writer, json.dumps(_measured(way, case)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        answer = pipe.read()
    os.waitpid(child, 0)
    found: float | None = json.loads(answer) if answer else None
    return found


def _measured(way: str, case: Case) -> float:
    import torch

    from benchmarks.implementations import prepare

    torch.set_num_threads(case.threads)
    prepare(way, case._replace(shape=case.shape._replace(T=2, B=case.threads)))()
    run = prepare(way, case)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM is now what is held
    before = _status("VmHWM")
    run()
    return round(_status("VmHWM") - before, 1)


def _status(name: str) -> float:
    """Return a size of /proc/self/status in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (kibibytes,) = re.findall(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) / 2**10


if __name__ == "__main__":
    main()
