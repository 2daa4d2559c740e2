"""The reference recipe (`--preset story`) on the stories, with our layer or with torch.nn.LSTM.

python -m experiments.story.run CORPORA [--layer ours|torch] [--steps 20000] [--threads 2]

CORPORA is the folder of the texts. What is trained is judged on whole books that it never saw: the
state is carried through all of the validation part, and of the test part. A run that was stopped
goes on where it last saved, under runs/. The figures go to experiments/story/results/LAYER.json.
"""

# ruff: noqa: T201 - a script that prints how it goes

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchmarks import machine
from benchmarks.implementations import put_torchs_layer
from carousel.data.corpus import prepare
from carousel.data.range_view import IdSequence, part
from carousel.data.split import split
from carousel.files import make_folder, write_durably
from carousel.models.evaluation import evaluate
from carousel.training.config import PRESETS, run_config
from carousel.training.setup import new_trainer, resolve
from carousel.training.trainer import Trainer, restore, state_files, train_step

RESULTS = Path(__file__).parent / "results"
SAVE_EVERY, LAST = 500, 500  # steps; LAST: whose mean is the training loss
LANES = 64  # of the validations on the way


def main() -> None:
    """Train to the end, judge, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--layer", choices=("ours", "torch"), default="ours")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=machine.cores())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folder = asked.corpora / "children_stories"
    corpus = prepare([folder / "stories.txt"])
    parts = split(corpus, "books", index=folder / "stories.index.tsv")
    ids = {name: part(corpus.ids, ranges) for name, ranges in parts.items()}
    trainer = begin(ids["train"], len(corpus.vocabulary), asked.layer, asked.steps)
    saved = Path("runs") / f"story-{asked.layer}.safetensors"
    make_folder(saved.parent)
    log = go_on(trainer, saved)
    while trainer.step < trainer.steps:
        train_for_a_while(trainer, log, ids["validation"])
        save(trainer, saved, log)
        print(json.dumps(log[-1]), flush=True)
    write(asked.layer, asked.threads, trainer, log, ids)


def begin(ids: IdSequence, vocab_size: int, layer: str, steps: int) -> Trainer:
    """Build the trainer of the recipe."""
    own: dict[str, dict[str, Any]] = {"training": {"steps": steps}}
    config = resolve(run_config(("story", PRESETS["story"]), ("own", own)), len(ids))
    trainer = new_trainer(config, vocab_size, ids, "cpu")
    if layer == "torch":
        model = config.model
        put_torchs_layer(trainer, model.embedding_size, model.hidden_size, model.num_layers)
    return trainer


def train_for_a_while(trainer: Trainer, log: list[dict[str, float]], held_out: IdSequence) -> None:
    """Take SAVE_EVERY steps, and add what came of them to the log."""
    losses, seconds = [], []
    while len(losses) < SAVE_EVERY and trainer.step < trainer.steps:
        start = time.perf_counter()
        losses.append(train_step(trainer).loss)
        seconds.append(time.perf_counter() - start)
    log.append(
        {
            "step": trainer.step,
            "loss": statistics.fmean(losses),
            "seconds": sum(seconds),
            "median_step": statistics.median(seconds),
            "validation": evaluate(trainer.model, held_out, lanes=LANES) or 0.0,
        }
    )


def save(trainer: Trainer, path: Path, log: list[dict[str, float]]) -> None:
    """Write down all that the next step depends on, and the log."""
    weights = {name: p.detach() for name, p in trainer.model.named_parameters()}
    files = state_files(trainer) | {"weights": safetensors.torch.save(weights)}
    tensors = {
        name: torch.frombuffer(bytearray(data), dtype=torch.uint8) for name, data in files.items()
    }
    write_durably(path, safetensors.torch.save(tensors, {"log": json.dumps(log)}))


@torch.no_grad()
def go_on(trainer: Trainer, path: Path) -> list[dict[str, float]]:
    """Put a trainer back to where it was saved, and return the log; an empty one if it was not."""
    if not path.exists():
        return []
    with safetensors.safe_open(path, "pt") as file:
        files = {name: bytes(file.get_tensor(name).numpy()) for name in file.keys()}  # noqa: SIM118
        log: list[dict[str, float]] = json.loads(file.metadata()["log"])
    weights = safetensors.torch.load(files.pop("weights"))
    for name, p in trainer.model.named_parameters():
        p.copy_(weights[name])
    restore(trainer, files)
    return log


def write(
    layer: str, threads: int, trainer: Trainer, log: list[dict[str, float]], ids: dict[str, Any]
) -> None:
    """Judge on the held-out books, and store all."""
    seconds = sum(row["seconds"] for row in log)
    characters = trainer.steps * trainer.config.batch_size * trainer.config.sequence_length
    found = {
        "steps": trainer.steps,
        "threads": threads,
        "training_loss": log[-1]["loss"],
        "validation_loss": evaluate(trainer.model, ids["validation"]),
        "test_loss": evaluate(trainer.model, ids["test"]),
        "seconds": seconds,
        "characters_per_second": characters / seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": machine.described(),
        "log": log,
    }
    make_folder(RESULTS)
    write_durably(RESULTS / f"{layer}.json", (json.dumps(found, indent=1) + "\n").encode())
    print({name: found[name] for name in found if name not in ("log", "machine")})


if __name__ == "__main__":
    main()
