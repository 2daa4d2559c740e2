"""Two versions of Carousel side by side: a worktree of a commit, and a process for each version."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from carousel.user_folders import user_cache_folder

WORKER = Path(__file__).with_name("version_worker.py")
TIMEOUT = 900.0  # seconds for one command


class Failed(Exception):
    """A command failed; the message is one line that says how."""


class Reply(NamedTuple):
    """What a command printed, how many seconds it took, and when an optimiser stepped."""

    out: str
    seconds: float
    steps: list[float]


class Version:
    """A version of Carousel: commands run in a process that imports its source and lives on."""

    def __init__(self, name: str, source: Path, folder: Path, kernels: str = "auto") -> None:
        """Start nothing yet.

        Args:
            name: For messages.
            source: The folder `src` of the version.
            folder: Where its commands run and write.
            kernels: Value of CAROUSEL_KERNELS.
        """
        self.name, self.source, self.folder = name, source, folder
        self._kernels = kernels
        self._process: subprocess.Popen[str] | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment of the version's commands."""
        inherited = os.environ.get("PYTHONPATH")
        path = [str(self.source), *([inherited] if inherited else [])]
        fixed = {
            "CAROUSEL_CACHE": str(self.folder / "cache"),
            "CAROUSEL_KERNELS": self._kernels,
            "PYTHONPATH": os.pathsep.join(path),
        }
        defaults = {
            "CAROUSEL_KERNEL_CACHE": str(user_cache_folder() / "kernels"),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
        }
        return defaults | os.environ | fixed

    def command(self, *arguments: str, codes: tuple[int, ...] = (0,), interrupt: int = 0) -> Reply:
        """Run a command such as `train`, as `python -m carousel` runs it.

        Args:
            arguments: What stands after `python -m carousel`.
            codes: Exit codes that are no failure.
            interrupt: Send SIGINT after so many calls of an optimiser's `step`; 0 sends none.

        Raises:
            Failed: If it ends with another exit code.
        """
        answer = self._ask({"arguments": arguments, "interrupt_after": interrupt or None})
        if answer["code"] not in codes:
            last = answer["error"].strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"{arguments[0]} ended with exit code {answer['code']}: {last[0]}")
        return Reply(answer["out"], answer["seconds"], answer["steps"])

    def weights(self, run: Path) -> str:
        """Return the hash of a model's parameters, in registration order.

        Raises:
            Failed: If the version does not load it.
        """
        return str(self._ask({"weights": str(run)})["weights"])

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process or self._start()
        answer = _exchange(process, request)
        if answer is None:
            self.close()
            raise Failed(f"the process of {self.name} ended, or did not answer in {TIMEOUT:.0f} s")
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _start(self) -> subprocess.Popen[str]:
        """Start the process, and check that it imports this version.

        Raises:
            Failed: If it cannot be started or imports another version.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        answer = _exchange(process, {}) or {"failed": "its process does not start"}
        problem = answer.get("failed")
        if problem is None and not Path(answer["source"]).is_relative_to(self.source.resolve()):
            problem = f"{answer['source']} is imported instead of {self.source}"
        if problem is not None:
            self.close()
            raise Failed(f"{self.name}: {problem}")
        return process


def _exchange(process: subprocess.Popen[str], request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer of a worker; None if it ended or was too slow."""
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(TIMEOUT, process.kill)
    timer.start()
    try:
        print(json.dumps(request), file=process.stdin, flush=True)
        line = process.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        timer.cancel()
    answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
    return answer


def resolve_commit(root: Path, commit: str) -> str | None:
    """Return the full name of a commit of the repository; None if there is no such commit."""
    command = [
        "git",
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{commit}^{{commit}}",
    ]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


@contextlib.contextmanager
def checked_out(root: Path, commit: str) -> Iterator[Path]:
    """Yield a temporary folder with a worktree of a commit, `tree`; both are removed at the end.

    Raises:
        Failed: If git cannot make the worktree.
    """
    repository = _git(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    with tempfile.TemporaryDirectory(prefix="carousel-before-after-") as name:
        folder = Path(name).resolve()
        tree = folder / "tree"
        try:
            _git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            yield folder
        finally:  # --force: Python left __pycache__ in it; the checkout itself may be gone by now
            remove = ["worktree", "remove", "--force", str(tree)]
            with contextlib.suppress(Failed):
                _git(folder, f"--git-dir={repository}", *remove)


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints.

    Raises:
        Failed: If it fails, or the folder is gone.
    """
    command = ["git", *arguments]
    words = [word for word in arguments if not word.startswith("--")]
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failed(f"git {words[0]} failed: {error}") from None
    if run.returncode != 0:
        raise Failed(f"git {' '.join(words[:2])} failed: {run.stderr.strip()}")
    return run.stdout.strip()
