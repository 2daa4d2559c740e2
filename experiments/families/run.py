"""Train every family with the same number of parameters for the same time, on one text.

python experiments/families/run.py [TEXT] [--seconds 300] [--family NAME …]

Without a text: the built-in tales, whose best possible loss is known. Figures go to
experiments/families/results/TEXT.json, a table of them to stdout.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from carousel.data.corpus import Corpus
from carousel.data.range_view import part
from carousel.data.split import split
from carousel.files import write_durably
from carousel.models.config import ModelConfig
from carousel.models.evaluation import evaluate
from carousel.models.size import num_parameters
from carousel.training.config import RunConfig, TrainingConfig
from carousel.training.setup import new_trainer, resolve
from carousel.training.text_source import Source, open_source
from carousel.training.trainer import Trainer, train_step

RESULTS = Path(__file__).parent / "results"
CURVE_POINTS = 20

# About 0.4 million parameters each, with the 65 characters of tinyshakespeare.
FAMILIES = {
    "mlp": ModelConfig(model="mlp", embedding_size=64, hidden_size=360),
    "rnn": ModelConfig(model="rnn", embedding_size=64, hidden_size=560),
    "gru": ModelConfig(model="gru", embedding_size=64, hidden_size=324),
    "lstm": ModelConfig(model="lstm", embedding_size=64, hidden_size=276),
    "transformer": ModelConfig(
        model="transformer", embedding_size=128, hidden_size=512, num_layers=2
    ),
}


class Text(NamedTuple):
    """A text, its parts, and the least loss on its validation part where that is known."""

    corpus: Corpus
    train: Any
    validation: Any
    floor: float | None


def main() -> None:
    """Train the families one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--family", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    asked = parser.parse_args()
    torch.set_num_threads(1)  # so that the time of the process is that of one core
    text = read(open_source(tuple(asked.text)))
    path = RESULTS / f"{Path(text.corpus.name).stem}.json"
    path.parent.mkdir(exist_ok=True)
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in asked.family:
        found[name] = trained(FAMILIES[name], text, asked.seconds)
        write_durably(path, (json.dumps(found, indent=1) + "\n").encode())
        print(row(name, found[name]), flush=True)


def read(source: Source) -> Text:
    """Split a text as `carousel train` does."""
    corpus = source.corpus
    parts = split(corpus, "contiguous")
    (start, stop) = parts["validation"][0].tolist()
    floor = None if source.floor is None else source.floor(start, stop)
    train, validation = (part(corpus.ids, parts[name]) for name in ("train", "validation"))
    return Text(corpus, train, validation, floor)


def trained(model: ModelConfig, text: Text, seconds: float) -> dict[str, Any]:
    """Train for so many seconds, the learning rate reaching zero at their end.

    The time is the processor's, of optimiser steps alone; validations stand outside.
    """
    vocab_size = len(text.corpus.vocabulary)
    steps = int(seconds / seconds_per_step(model, text))
    trainer = fresh(model, text, steps)
    config = trainer.config
    curve, spent = [], 0.0
    while trainer.step < steps:
        start = time.process_time()
        train_step(trainer)
        spent += time.process_time() - start
        if trainer.step % max(1, steps // CURVE_POINTS) == 0:
            loss = evaluate(trainer.model, text.validation, lanes=16)
            curve.append({"step": trainer.step, "seconds": spent, "loss": loss})
    loss = evaluate(trainer.model, text.validation)
    return {
        "parameters": num_parameters(model, vocab_size),
        "learning_rate": config.peak,
        "steps": steps,
        "seconds": spent,
        "characters_per_second": steps * config.batch_size * config.sequence_length / spent,
        "validation_loss": loss,
        "floor": text.floor,
        "curve": curve,
    }


def fresh(model: ModelConfig, text: Text, steps: int) -> Trainer:
    """Return a trainer at step 0, with the family's default settings."""
    given = RunConfig(model=model, training=TrainingConfig(steps=steps))
    settings = resolve(given, len(text.train))
    return new_trainer(settings, len(text.corpus.vocabulary), text.train, "cpu")


def seconds_per_step(model: ModelConfig, text: Text) -> float:
    """Measure ten steps after three, of a trainer that is thrown away."""
    trainer, times = fresh(model, text, 1000), []
    for _ in range(13):
        start = time.process_time()
        train_step(trainer)
        times.append(time.process_time() - start)
    return statistics.median(times[3:])


def row(name: str, figures: dict[str, Any]) -> str:
    """Return a line of the table."""
    loss, floor = figures["validation_loss"], figures["floor"]
    above = "" if floor is None else f"{loss - floor:.3f}"
    return (
        f"| {name} | {figures['parameters']:,} | {figures['learning_rate']:g} "
        f"| {figures['steps']:,} | {figures['seconds']:.0f} "
        f"| {figures['characters_per_second']:,.0f} | {loss:.4f} | {above} |"
    )


if __name__ == "__main__":
    main()
