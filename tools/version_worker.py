"""Run commands of one version of Carousel in this process; tools/before_after.py starts it.

It reads a request from each line of stdin, as JSON, and writes one line for each to stdout. A
command runs as `python -m carousel` would run it, but torch and the kernels are loaded only once.
The names of modules and classes differ between versions, so none is used but `carousel.load`, or
before it existed `carousel.load_model`.

| request | reply |
|---|---|
| {} | source: the folder of the package |
| arguments, interrupt_after | code, out, error, seconds, steps |
| weights: a run or checkpoint | weights: the hash of its parameters |
"""

import gc
import hashlib
import io
import json
import os
import runpy
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


class Output(io.BytesIO):
    """Keep what is written to it."""

    def fileno(self) -> int:
        """Return a descriptor that is no terminal."""
        return 1


def run(arguments: list[str], interrupt_after: int | None = None) -> dict[str, Any]:
    """Run a command.

    Args:
        arguments: What stands after `python -m carousel`.
        interrupt_after: Send SIGINT to this process after so many calls of an optimiser's `step`.

    Returns:
        Its exit code, its output, the end of stderr, the seconds it took, and the times at which
        `step` returned, of the optimiser that stepped last.
    """
    calls: list[tuple[int, float]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        calls.append((id(optimizer), time.perf_counter()))
        if len(calls) == interrupt_after:
            signal.raise_signal(signal.SIGINT)

    streams = sys.argv, sys.stdout, sys.stderr
    output, errors = Output(), io.BytesIO()
    hook = register_optimizer_step_post_hook(note)
    gc.collect()
    start = time.perf_counter()
    try:
        sys.argv = ["carousel", *arguments]
        sys.stdout = out = io.TextIOWrapper(output, encoding="utf-8", errors="surrogateescape")
        sys.stderr = err = io.TextIOWrapper(errors, encoding="utf-8", write_through=True)
        code = _exit_code()
        seconds = time.perf_counter() - start
        out.flush()
        err.flush()
    finally:
        hook.remove()
        sys.argv, sys.stdout, sys.stderr = streams
    return {
        "code": code,
        "out": output.getvalue().decode(errors="surrogateescape"),
        "error": errors.getvalue().decode(errors="replace")[-2000:],
        "seconds": seconds,
        "steps": [seconds for key, seconds in calls if key == calls[-1][0]],
    }


def _exit_code() -> int:
    try:
        runpy.run_module("carousel", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (Exception, KeyboardInterrupt):
        traceback.print_exc()
        return 1
    return 0


def weights(folder: str) -> str:
    """Return a hash of a model's parameters, in the order in which the model registers them.

    Their names are left out: a file of weights is in the order of the names, so it is loaded.
    """
    import carousel

    if hasattr(carousel, "load"):
        model = carousel.load(Path(folder)).module
    else:
        model = carousel.load_model(folder).model
    digest = hashlib.sha256()
    for p in model.parameters():
        digest.update(f"{p.dtype} {tuple(p.shape)}\n".encode())
        digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request."""
    if "arguments" in request:
        return run(**request)
    if "weights" in request:
        return {"weights": weights(request["weights"])}
    import carousel

    return {"source": str(Path(carousel.__file__).parent)}


def main() -> None:
    """Answer requests until stdin ends."""
    warnings.simplefilter("ignore")  # a name that is deprecated still counts as one that works
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for line in requests:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
