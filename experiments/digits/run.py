"""Read a small image as a sequence, pixel by pixel or row by row, and name the digit.

python experiments/digits/run.py [--seeds 2] [--epochs 15]   needs scikit-learn
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel, Supervision
from carousel.training.supervised import (
    Examples,
    FitResult,
    fit_examples,
    negative_log_likelihood,
    order,
    predict,
)
from carousel.training.supervised_config import SupervisedConfig

CLASSES = 10
# By the pixel every step costs eight times as much: there, the last position only.
SUPERVISIONS: dict[str, tuple[Supervision, ...]] = {
    "8 rows": ("last", "every"),
    "64 pixels": ("last",),
}
# About 20,000 parameters each. The window of the mlp is a quarter of the 64 pixels.
FAMILIES = {
    "mlp": ModelConfig(model="mlp", embedding_size=16, hidden_size=72, context_length=16),
    "rnn": ModelConfig(model="rnn", embedding_size=16, hidden_size=130),
    "gru": ModelConfig(model="gru", embedding_size=16, hidden_size=72),
    "lstm": ModelConfig(model="lstm", embedding_size=16, hidden_size=62),
    "transformer": ModelConfig(
        model="transformer", embedding_size=32, hidden_size=96, num_layers=2, context_length=64
    ),
}


class Digits(NamedTuple):
    """Images as sequences, (N, T, F), and what they show."""

    train: Examples
    validation: Examples
    test: Examples


def main() -> None:
    """Train every family on both readings and print the test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    asked = parser.parse_args()
    print("| family | read as | answers | parameters | test accuracy | seconds a run |")
    print("|---|---|---|---|---|---|")
    for reading, features in (("8 rows", 8), ("64 pixels", 1)):
        digits = read(features)
        for name, config in FAMILIES.items():
            for supervision in SUPERVISIONS[reading]:
                print(row(name, config, reading, supervision, digits, asked), flush=True)


def read(features: int) -> Digits:
    """Return the 1,797 digits, 8 × 8 pixels each, in a drawn order: 70, 15 and 15 per cent."""
    images, classes = load_digits(return_X_y=True)
    drawn = order(seed=0, epoch=0, count=len(images))
    pixels = torch.from_numpy(images).float()[drawn] / 16
    inputs = pixels.view(len(images), -1, features)
    targets = torch.from_numpy(classes).long()[drawn]
    first, second = len(images) * 70 // 100, len(images) * 85 // 100
    parts = (slice(0, first), slice(first, second), slice(second, None))
    return Digits(*(Examples(inputs[each], targets[each]) for each in parts))


def row(
    name: str,
    config: ModelConfig,
    reading: str,
    supervision: Supervision,
    digits: Digits,
    asked: argparse.Namespace,
) -> str:
    """Train once for each seed; return a line of the table."""
    start = time.process_time()
    results = [
        accuracy(trained(config, digits, supervision, seed, asked.epochs), digits.test)
        for seed in range(asked.seeds)
    ]
    seconds = (time.process_time() - start) / asked.seeds
    mean, deviation = statistics.mean(results), statistics.pstdev(results)
    features = digits.train.inputs.shape[-1]
    size = sum(p.numel() for p in model(config, features, supervision).parameters())
    return (
        f"| {name} | {reading} | {supervision} | {size:,} "
        f"| {100 * mean:.1f} ± {100 * deviation:.1f} % | {seconds:.0f} |"
    )


def model(config: ModelConfig, features: int, supervision: Supervision) -> SequenceModel:
    """Return a fresh classifier."""
    return SequenceModel(config, input_size=features, output_size=CLASSES, supervision=supervision)


def trained(
    config: ModelConfig, digits: Digits, supervision: Supervision, seed: int, epochs: int
) -> SequenceModel:
    """Train one classifier; its weights are those of the best validation."""
    torch.manual_seed(seed)
    classifier = model(config, digits.train.inputs.shape[-1], supervision)
    settings = SupervisedConfig(epochs=epochs, seed=seed, learning_rate=3e-3)
    train, validation = (answered(part, supervision) for part in digits[:2])
    events = fit_examples(classifier, train, validation, negative_log_likelihood, settings)
    assert any(isinstance(event, FitResult) for event in events)
    return classifier


def answered(examples: Examples, supervision: Supervision) -> Examples:
    """Return the targets that a supervision asks for: every position answers the same."""
    if supervision == "last":
        return examples
    steps = examples.inputs.shape[1]
    return examples._replace(targets=examples.targets.unsqueeze(1).expand(-1, steps))


def accuracy(classifier: SequenceModel, examples: Examples) -> float:
    """Return the share of images named right after their last pixel."""
    answers = predict(classifier, examples.inputs)
    last: Tensor = answers if answers.dim() == 2 else answers[:, -1]
    return (last.argmax(-1) == examples.targets).float().mean().item()


if __name__ == "__main__":
    main()
