"""Time a step of the reference recipe with our layer and with torch.nn.LSTM, in turns.

python -m experiments.story.pace CORPORA

CORPORA is the folder of the texts. With 1 thread and with 2, the medians of 90 steps each; nothing
else should run. They go to experiments/story/results/pace.json.
"""

# ruff: noqa: T201 - a script that prints what it found

import json
import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks import machine
from carousel.data.corpus import prepare
from carousel.data.range_view import part
from carousel.data.split import split
from carousel.files import make_folder, write_durably
from carousel.training.trainer import Trainer, train_step
from experiments.story.run import RESULTS, begin

STEPS = 20_000  # of the recipe
WARM_UP, ROUNDS, TURN = 3, 9, 10  # steps before, turns of each layer, steps in a turn


def main() -> None:
    """Time both, and store."""
    folder = Path(sys.argv[1]) / "children_stories"
    corpus = prepare([folder / "stories.txt"])
    ids = part(corpus.ids, split(corpus, "books", index=folder / "stories.index.tsv")["train"])
    found: dict[str, object] = {"machine": machine.described()}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        trainers = {k: begin(ids, len(corpus.vocabulary), k, STEPS) for k in ("ours", "torch")}
        for trainer in trainers.values():
            seconds_of(trainer, WARM_UP)
        seconds: dict[str, list[float]] = {layer: [] for layer in trainers}
        for _ in range(ROUNDS):
            for layer, trainer in trainers.items():
                seconds[layer] += seconds_of(trainer, TURN)
        medians = {layer: statistics.median(times) for layer, times in seconds.items()}
        found[f"{threads} threads"] = medians
        for layer, median in medians.items():
            settings = trainers[layer].config
            pace = settings.batch_size * settings.sequence_length / median
            print(
                f"{threads} threads, {layer}: {1e3 * median:.1f} ms a step, {pace:,.0f} "
                f"characters/s, {STEPS * median / 60:.1f} minutes for {STEPS:,} steps"
            )
        print(f"ratio {medians['torch'] / medians['ours']:.2f}")
    make_folder(RESULTS)
    write_durably(RESULTS / "pace.json", (json.dumps(found, indent=1) + "\n").encode())


def seconds_of(trainer: Trainer, steps: int) -> list[float]:
    """Take so many steps, and return how long each took."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        train_step(trainer)
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
