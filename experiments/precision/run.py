"""Train the story recipe in float32 and in bf16 from the same seeds: does bf16 cost quality?

python experiments/precision/run.py [TEXT] [--steps 2000] [--seeds 5]

Without a text: the built-in tales. A seed gives both the same weights to begin with and the same
batches. Each pair goes to experiments/precision/results/TEXT.json as soon as it is there; seeds
that stand in it already are not trained again. A table, and the mean difference, to stdout.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Literal

import torch

from carousel.data.corpus import Corpus
from carousel.data.range_view import part
from carousel.data.split import split
from carousel.errors import CarouselError
from carousel.files import write_durably
from carousel.kernels import fused
from carousel.models.evaluation import evaluate
from carousel.training.config import PRESETS, run_config
from carousel.training.setup import new_trainer, resolve
from carousel.training.text_source import open_source
from carousel.training.trainer import train_step

RESULTS = Path(__file__).parent / "results"
LANES = 16

Precision = Literal["float32", "bf16"]
Pair = dict[str, float]  # nats per character by precision


def main() -> None:
    """Train the seeds that are missing, then say what all show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    if (obstacle := fused.unavailable_reason(torch.bfloat16)) is not None:
        raise CarouselError(f"there is no bf16 here: {obstacle}")
    torch.set_num_threads(1)  # so that the time of the process is that of one core
    corpus = open_source(tuple(asked.text)).corpus
    path = RESULTS / f"{Path(corpus.name).stem}.json"
    path.parent.mkdir(exist_ok=True)
    found: dict[str, Pair] = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(asked.seeds):
        if (name := f"{asked.steps} steps, seed {seed}") not in found:
            found[name] = pair(corpus, asked.steps, seed)
            write_durably(path, (json.dumps(found, indent=1) + "\n").encode())
        print(f"| {seed} | {found[name]['float32']:.4f} | {found[name]['bf16']:.4f} |", flush=True)
    print(summary(list(found.values())))


def pair(corpus: Corpus, steps: int, seed: int) -> Pair:
    """Return the validation losses that a seed leads to, and the seconds of processor it took."""
    losses: Pair = {}
    for precision in ("float32", "bf16"):
        start = time.process_time()
        losses[precision] = trained(corpus, steps, seed, precision)
        losses[f"{precision} seconds"] = time.process_time() - start
    return losses


def trained(corpus: Corpus, steps: int, seed: int, precision: Precision) -> float:
    """Return the loss in nats per character, judged in float32 whatever it was trained in."""
    parts = split(corpus, "contiguous")
    train, validation = (part(corpus.ids, parts[name]) for name in ("train", "validation"))
    own = {"training": {"steps": steps, "seed": seed, "precision": precision}}
    settings = resolve(run_config(("story", PRESETS["story"]), ("own", own)), len(train))
    trainer = new_trainer(settings, len(corpus.vocabulary), train, "cpu")
    while trainer.step < steps:
        train_step(trainer)
    loss = evaluate(trainer.model, validation, lanes=LANES)
    assert loss is not None, "nobody abandons it"
    return loss


def summary(pairs: list[Pair]) -> str:
    """Return the mean difference of bf16 to float32, and its standard error."""
    differences = [each["bf16"] - each["float32"] for each in pairs]
    mean = f"bf16 - float32: {statistics.fmean(differences):+.4f} nats per character"
    if len(differences) < 2:
        return mean
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{mean}, standard error {error:.4f}, {len(differences)} seeds"


if __name__ == "__main__":
    main()
