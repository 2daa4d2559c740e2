"""How soon a loss is reached, by the rules of benchmarks/speedrun.md.

python -m benchmarks.speedrun TRACK CORPORA [--seeds 5] [--threads 2] [--torch]

TRACK is one of benchmarks/speedrun/tracks.toml; CORPORA is the folder of the texts. Each
seed's run goes to benchmarks/results/MACHINE/speedrun-TRACK.json as soon as it is there; seeds that
stand in it already are not run again. Nothing else should run.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import json
import math
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import machine
from benchmarks.implementations import put_torchs_layer
from carousel.data.corpus import prepare
from carousel.data.range_view import IdSequence, part
from carousel.data.split import sha256, split
from carousel.data.vocabulary import Vocabulary
from carousel.errors import DataError
from carousel.files import make_folder, write_durably
from carousel.models.base import LanguageModel
from carousel.models.evaluation import evaluate
from carousel.models.loss import cross_entropy
from carousel.training.config import RunConfig, read_toml, run_config
from carousel.training.setup import new_trainer, resolve
from carousel.training.trainer import Trainer, backpropagate, train_step

FOLDER = Path(__file__).parent / "speedrun"
TRACKS = FOLDER / "tracks.toml"
WINDOW, WINDOWS, AT_ONCE = 256, 12_800, 64  # nanoGPT's estimate of a loss: 200 batches of 64
LAST = 100  # steps whose mean is called the training loss


class Track(NamedTuple):
    """What is to be reached.

    Attributes:
        name: Of its settings' file.
        text: Path of the text in the folder of corpora.
        sha256: Of the text, line endings normalised.
        split_sha256: Of the parts.
        goal: Nats per character of the validation part; None: as few as possible.
        bar: Seconds in which it is to be reached.
        settings: Of the run that holds the record.
    """

    name: str
    text: str
    sha256: str
    split_sha256: str
    bar: float
    settings: RunConfig
    goal: float | None = None


class Text(NamedTuple):
    """The parts of a track's text."""

    train: IdSequence
    validation: IdSequence
    vocabulary: Vocabulary


def main() -> None:
    """Run the seeds that are missing, then say what all show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("track", choices=list(read_toml(TRACKS)))
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--torch", action="store_true", help="torch.nn.LSTM in our layer's place")
    asked = parser.parse_args()
    track = read_track(asked.track)
    text = read_text(track, asked.corpora)
    torch.set_num_threads(asked.threads)
    way = f"{asked.threads} threads" + (", torch.nn.LSTM" if asked.torch else "")
    path = machine.ROOT / "benchmarks/results" / machine.kind() / f"speedrun-{track.name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(asked.seeds):
        if (name := f"{way}, seed {seed}") not in found:
            found[name] = run(track, text, seed, is_torch=asked.torch)
            make_folder(path.parent)
            write_durably(path, (json.dumps(found, indent=1) + "\n").encode())
        print(f"{name}: {sentence(found[name])}", flush=True)
    runs = [found[f"{way}, seed {seed}"] for seed in range(asked.seeds)]
    print(summary(track, runs))


def read_track(name: str) -> Track:
    """Return a track, with the settings of the record."""
    about = read_toml(TRACKS)[name]
    path = FOLDER / f"{name}.toml"
    return Track(name=name, settings=run_config((path.name, read_toml(path))), **about)


def read_text(track: Track, corpora: Path) -> Text:
    """Read and part a track's text.

    Raises:
        DataError: If it is not the track's, or its parts are not.
    """
    data = track.settings.data
    corpus = prepare([corpora / track.text])
    index = None if data.index is None else corpora / data.index
    parts = split(corpus, data.split, data.parts, seed=data.split_seed, index=index)
    for what, found, wanted in (
        (corpus.name, corpus.sha256, track.sha256),
        (f"the split of {corpus.name}", sha256(parts), track.split_sha256),
    ):
        if found != wanted:
            raise DataError(f"{what} has the SHA-256 {found}, and the track is about {wanted}")
    train, validation = (part(corpus.ids, parts[name]) for name in ("train", "validation"))
    return Text(train, validation, corpus.vocabulary)


def run(track: Track, text: Text, seed: int, *, is_torch: bool = False) -> dict[str, Any]:
    """Train once against the clock, and judge."""
    training = replace(track.settings.training, seed=seed)
    settings = resolve(replace(track.settings, training=training), len(text.train))
    warm_up(settings, text, is_torch=is_torch)
    load = machine.load()
    start, cpu = time.perf_counter(), time.process_time()
    trainer = begin(settings, text, is_torch=is_torch)
    losses = [train_step(trainer).loss for _ in range(trainer.steps)]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    training = settings.training
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(cpu_seconds, 2),
        "steps": trainer.steps,
        "characters": trainer.steps * training.batch_size * training.sequence_length,
        "training_loss": statistics.fmean(losses[-LAST:]),
        "validation_loss": evaluate(trainer.model, text.validation),
        "window_loss": window_loss(trainer.model, text.validation),
        "curve": [statistics.fmean(losses[k : k + LAST]) for k in range(0, len(losses), LAST)],
        "machine": {**machine.described(), "load_before": load, "load_after": machine.load()},
        "settings": asdict(settings),
    }


def begin(settings: RunConfig, text: Text, *, is_torch: bool) -> Trainer:
    """Build what trains."""
    trainer = new_trainer(settings, len(text.vocabulary), text.train, "cpu")
    if is_torch:
        model = settings.model
        put_torchs_layer(trainer, model.embedding_size, model.hidden_size, model.num_layers)
    return trainer


def warm_up(settings: RunConfig, text: Text, *, is_torch: bool) -> None:
    """Let kernels be compiled and loaded, by one pass over random ids."""
    trainer = begin(settings, text, is_torch=is_torch)
    batch = trainer.batches.batch(0)
    rng = np.random.default_rng(0)
    ids = rng.integers(len(text.vocabulary), size=(2, *batch.tokens.shape))
    backpropagate(trainer, batch._replace(tokens=ids[0], targets=ids[1]), None)


@torch.inference_mode()
def window_loss(model: LanguageModel, ids: IdSequence) -> float:
    """Return the mean loss over random windows, each from a zero state, as nanoGPT estimates it."""
    rng = np.random.default_rng(0)
    model.eval()
    total = 0.0
    for _ in range(WINDOWS // AT_ONCE):
        starts = rng.integers(len(ids) - WINDOW, size=(AT_ONCE, 1))
        windows = torch.from_numpy(ids[starts + np.arange(WINDOW + 1)].astype(np.int64))
        logits, _ = model(windows[:, :-1])
        total += float(cross_entropy(logits, windows[:, 1:].contiguous()).double().mean())
    return total / (WINDOWS // AT_ONCE)


def sentence(found: dict[str, Any]) -> str:
    """Return one run in a line."""
    return (
        f"{found['seconds']:.1f} s, {found['characters']:,} characters, validation "
        f"{found['validation_loss']:.4f}, windows {found['window_loss']:.4f}, training "
        f"{found['training_loss']:.4f} nats"
    )


def summary(track: Track, runs: list[dict[str, Any]]) -> str:
    """Return the median, and whether the mean is below the goal, if any, beyond doubt."""
    seconds = statistics.median(found["seconds"] for found in runs)
    losses = [found["validation_loss"] for found in runs]
    mean = statistics.fmean(losses)
    said = f"median {seconds:.1f} s, bar {track.bar:g} s; validation: mean {mean:.4f}"
    if track.goal is not None:
        said = f"{said}, goal {track.goal:.4f}"
    if len(runs) < 2:
        return said
    sigma = statistics.stdev(losses)
    if track.goal is None:
        return f"{said}, sigma {sigma:.4f}"
    margin = (track.goal - mean) * math.sqrt(len(losses))
    verdict = "reached" if margin >= 3.09 * sigma else "not reached beyond doubt"
    return f"{said}, sigma {sigma:.4f}: {verdict}"


if __name__ == "__main__":
    main()
