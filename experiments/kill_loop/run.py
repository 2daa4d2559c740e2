"""Kill a process again and again while it saves a model; count how often the model is lost.

python experiments/kill_loop/run.py [--kills 200] [--megabytes 8]
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from carousel.models.checkpoint import read_checkpoint
from carousel.models.tensor_file import read_header, read_tensors
from carousel.training.run_folder import RunFolder, step_name

State = dict[str, Tensor]
Save = Callable[[int, State], object]


class Writer(NamedTuple):
    """A way to save a state and to get the newest one back; loading raises where it cannot."""

    name: str
    open: Callable[[Path], Save]
    load: Callable[[Path], State]


def carousel_in(folder: Path) -> Save:
    """As `carousel train` saves."""
    run = RunFolder(folder)
    run.prepare()
    return lambda step, state: run.save(
        step, {"model.safetensors": safetensors.torch.save(state)}, best=step
    )


def load_with_carousel(folder: Path) -> State:
    """Read the checkpoint with the highest number: no falling back to the one before."""
    run = RunFolder(folder)
    data = read_checkpoint(run.checkpoints / step_name(run.saved_steps()[-1]))["model.safetensors"]
    return read_tensors(data, read_header(data))


def in_place(folder: Path) -> Save:
    """As most training scripts save."""
    return lambda step, state: torch.save(state, folder / "last.pt")


def and_renamed(folder: Path) -> Save:
    """As careful training scripts save: whole or not at all, unless the power fails."""

    def save(step: int, state: State) -> None:
        torch.save(state, folder / "last.pt.tmp")
        (folder / "last.pt.tmp").replace(folder / "last.pt")

    return save


def load_pt(folder: Path) -> State:
    """Read what torch.save wrote."""
    state: State = torch.load(folder / "last.pt", weights_only=True)
    return state


WRITERS = [
    Writer("RunFolder.save", carousel_in, load_with_carousel),
    Writer('torch.save(state, "last.pt")', in_place, load_pt),
    Writer("torch.save(state, temporary); os.replace", and_renamed, load_pt),
]


def state_of(step: int, megabytes: float) -> State:
    """Four tensors, every number of which is the step's."""
    rows = max(1, round(megabytes * 1e6 / (4 * 4 * 256)))  # of 256 float32
    return {name: torch.full((rows, 256), float(step)) for name in "abcd"}


def write(number: int, folder: Path, times: Path, megabytes: float) -> None:
    """Save one state after the other for ever; note how long each took."""
    torch.set_num_threads(1)
    save = WRITERS[number].open(folder)
    with times.open("ab", buffering=0) as file:
        for step in count(1):
            state = state_of(step, megabytes)
            begin = time.perf_counter()
            save(step, state)
            file.write(f"{time.perf_counter() - begin}\n".encode())


def kill_once(number: int, folder: Path, megabytes: float, wait: float) -> list[float]:
    """Let a process save for a while, kill it, and return the seconds that its saves took."""
    run, times = folder / "run", folder / "times"
    run.mkdir()
    kind = "fork" if os.name == "posix" else "spawn"  # a fork starts at once
    child = multiprocessing.get_context(kind).Process(
        target=write, args=(number, run, times, megabytes), daemon=True
    )
    child.start()
    while not (times.exists() and times.stat().st_size):  # till there is something to lose
        assert child.is_alive(), "the writer has failed"
        time.sleep(0.001)
    time.sleep(wait)
    child.kill()
    child.join()
    return [float(line) for line in times.read_text().splitlines()]


def verdict(load: Callable[[Path], State], folder: Path) -> str:
    """Say what there is: a whole state, a mixture of two, or what the reader raises."""
    try:
        values = {float(v) for tensor in load(folder).values() for v in tensor.unique()}
    except Exception as error:  # whatever a reader of damaged files may raise
        return type(error).__name__
    return "whole" if len(values) == 1 else "mixture"


def trial(number: int, kills: int, megabytes: float) -> str:
    """Kill one writer so many times, and return its row of the table."""
    writer, draw = WRITERS[number], random.Random(number)
    found: Counter[str] = Counter()
    seconds: list[float] = []
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            seconds += kill_once(number, Path(folder), megabytes, draw.uniform(0, 0.3))
            found[verdict(writer.load, Path(folder) / "run")] += 1
    lost = kills - found.pop("whole", 0)
    how = ", ".join(f"{name} {times}" for name, times in found.most_common()) or "none"
    median = 1000 * statistics.median(seconds)
    return f"| `{writer.name}` | {kills} | {lost} | {how} | {len(seconds):,} | {median:.1f} |"


def main() -> None:
    """Run the writers one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of each writer")
    parser.add_argument("--megabytes", type=float, default=8, help="size of the state")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| writer | kills | unreadable or missing after | how | saves | median ms per save |")
    print("|---|---|---|---|---|---|")
    for number in range(len(WRITERS)):
        print(trial(number, given.kills, given.megabytes), flush=True)


if __name__ == "__main__":
    main()
