"""Learn the next character from windows of text: from each window's end alone, or everywhere in it.

python experiments/last_character/run.py [TEXT] [--steps 1000] [--model mlp lstm …]

Without a text: the built-in tales. Both are judged alike, by the character after whole windows.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from carousel.data.batches import Batch, RandomWindows
from carousel.data.range_view import IdSequence, part
from carousel.data.split import split
from carousel.models.config import ModelConfig
from carousel.models.loss import cross_entropy
from carousel.models.sequence import SequenceModel, Supervision
from carousel.training.text_source import open_source

T, B = 64, 64  # characters of a window, windows of a step
JUDGED = 64  # batches of validation windows
SUPERVISIONS: tuple[Supervision, ...] = ("last", "every")


def main() -> None:
    """Train each model under both supervisions and print what they reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--model", nargs="*", default=["mlp", "lstm"])
    asked = parser.parse_args()
    corpus = open_source(tuple(asked.text)).corpus
    parts = split(corpus, "contiguous")
    train, validation = (part(corpus.ids, parts[name]) for name in ("train", "validation"))
    print("| family | supervised at | answers in all | seconds | nats after whole windows |")
    print("|---|---|---|---|---|")
    for name in asked.model:
        config = ModelConfig(model=name, hidden_size=192)
        for supervision in SUPERVISIONS:
            model, seconds = trained(config, supervision, train, len(corpus.vocabulary), asked)
            answers = asked.steps * B * (1 if supervision == "last" else T)
            loss = judged(model, supervision, validation)
            print(f"| {name} | {supervision} | {answers:,} | {seconds:.0f} | {loss:.3f} |")


def trained(
    config: ModelConfig,
    supervision: Supervision,
    ids: IdSequence,
    vocab_size: int,
    asked: argparse.Namespace,
) -> tuple[SequenceModel, float]:
    """Return a model after so many steps of Adam, its rate falling to zero, and the seconds."""
    torch.manual_seed(0)
    model = SequenceModel(
        config, vocab_size=vocab_size, output_size=vocab_size, supervision=supervision
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, asked.steps)
    windows, start = RandomWindows(ids, B, T, seed=0), time.process_time()
    for k in range(asked.steps):
        optimizer.zero_grad(set_to_none=True)
        losses(model, supervision, windows.batch(k)).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, time.process_time() - start


@torch.no_grad()
def judged(model: SequenceModel, supervision: Supervision, ids: IdSequence) -> float:
    """Return the mean loss of the character after a window, over the same windows for all."""
    model.eval()
    windows = RandomWindows(ids, B, T, seed=1)
    last = [losses(model, supervision, windows.batch(k))[:, -1] for k in range(JUDGED)]
    return torch.cat(last).mean().item()


def losses(model: SequenceModel, supervision: Supervision, batch: Batch) -> Tensor:
    """Return nats of each answer, (B, 1) or (B, T)."""
    answers = model(torch.from_numpy(batch.tokens))[0]
    targets = torch.from_numpy(batch.targets)
    if supervision == "last":
        return cross_entropy(answers.unsqueeze(1), targets[:, -1:])
    return cross_entropy(answers, targets)


if __name__ == "__main__":
    main()
