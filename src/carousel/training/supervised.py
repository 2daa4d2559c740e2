"""Fit a SequenceModel to examples, regression or classification, as a stream of events.

The order of the examples is a function of seed and epoch; the caller seeds torch before it builds
the model. Then the same seed gives the same bits. Nothing here prints.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from carousel.errors import DataError, DivergenceError
from carousel.models.loss import cross_entropy
from carousel.models.sequence import SequenceModel
from carousel.training.supervised_config import SupervisedConfig

Ending = Literal["finished", "no longer improving"]
_AT_ONCE = 512  # examples that are predicted side by side


class Examples(NamedTuple):
    """Inputs and targets.

    Attributes:
        inputs: Features (N, T, F), or ids (N, T).
        targets: For regression what the model answers, (N, O) or (N, T, O); for classification the
            classes, (N,) or (N, T).
    """

    inputs: Tensor
    targets: Tensor


Objective = Callable[[Tensor, Tensor], Tensor]  # answers, targets -> the mean loss


def squared_error(answers: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error of answers, (N, O) or (N, T, O)."""
    if answers.shape != targets.shape:  # torch would spread one over the other
        raise DataError(f"answers are {tuple(answers.shape)}, targets {tuple(targets.shape)}")
    return (answers - targets).square().mean()


def negative_log_likelihood(answers: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, of logits (N, V) or (N, T, V)."""
    if answers.shape[:-1] != targets.shape:
        raise DataError(f"answers are {tuple(answers.shape)}, targets {tuple(targets.shape)}")
    classes = answers.shape[-1]
    return cross_entropy(answers.reshape(1, -1, classes), targets.reshape(1, -1)).mean()


@dataclass(frozen=True)
class Epoch:
    """Once through the examples.

    Attributes:
        number: From 1.
        loss: Mean over the examples, each before the step that it took part in.
        validation_loss: After the epoch.
        is_best: Whether that is the lowest so far.
    """

    number: int
    loss: float
    validation_loss: float
    is_best: bool


@dataclass(frozen=True)
class FitResult:
    """Why training ended; the last event. The model has the weights of the best epoch."""

    ending: Ending
    epochs: int
    best_epoch: int
    best_loss: float


def fit_examples(
    model: SequenceModel,
    train: Examples,
    validation: Examples,
    objective: Objective,
    config: SupervisedConfig,
) -> Iterator[Epoch | FitResult]:
    """Train until the last epoch, or until the validation loss no longer improves.

    Raises:
        DataError: If there are no examples, or the targets do not fit the answers.
        DivergenceError: If a loss or gradient is not finite; the message says what would help.
    """
    if not (len(train.inputs) and len(validation.inputs)):
        raise DataError("there must be examples to train and to validate on")
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    best_epoch, best_loss, best = 0, math.inf, _copy(model)
    for number in range(1, config.epochs + 1):
        loss = _train(model, optimizer, train, objective, config, number)
        validation_loss = evaluate_examples(model, validation, objective)
        _check_finite(validation_loss, f"epoch {number}: the validation loss", config)
        is_best = validation_loss < best_loss
        if is_best:
            best_epoch, best_loss, best = number, validation_loss, _copy(model)
        yield Epoch(number, loss, validation_loss, is_best)
        if 0 < config.patience <= number - best_epoch:
            break
    model.load_state_dict(best)
    ran_out = 0 < config.patience <= number - best_epoch
    yield FitResult("no longer improving" if ran_out else "finished", number, best_epoch, best_loss)


def predict(model: SequenceModel, inputs: Tensor) -> Tensor:
    """Return the model's answers to inputs (N, …), without dropout and without a tape."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(rows)[0] for rows in batches(inputs, _AT_ONCE)])


def evaluate_examples(model: SequenceModel, examples: Examples, objective: Objective) -> float:
    """Return the mean loss over examples."""
    return float(objective(predict(model, examples.inputs), examples.targets))


def order(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order, (count,), in which an epoch goes through the examples.

    It sorts the raw bits of a counter-based generator: unlike numpy's permutations, they never
    change between versions.
    """
    bits = np.random.Philox(key=seed, counter=[0, epoch, 0, 0]).random_raw(count)
    return torch.from_numpy(np.argsort(bits, kind="stable"))


def batches(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Yield rows (N, …) in batches of one size, but for the last."""
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _train(
    model: SequenceModel,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    objective: Objective,
    config: SupervisedConfig,
    epoch: int,
) -> float:
    """Run one epoch over the examples; return their mean loss."""
    model.train()
    total, count = 0.0, len(examples.inputs)
    for rows in batches(order(config.seed, epoch, count), config.batch_size):
        optimizer.zero_grad(set_to_none=True)
        loss = objective(model(examples.inputs[rows])[0], examples.targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(
            model.parameters(), config.max_grad_norm or float("inf")
        )
        _check_finite(loss.item(), f"epoch {epoch}: the loss", config)
        _check_finite(norm.item(), f"epoch {epoch}: the gradient norm", config)
        optimizer.step()
        total += loss.item() * len(rows)
    return total / count


def _check_finite(number: float, what: str, config: SupervisedConfig) -> None:
    if not math.isfinite(number):
        raise DivergenceError(
            f"{what} is {number}; a smaller step (--learning-rate {config.learning_rate / 4:.2g}) "
            "may help"
        )


def _copy(model: SequenceModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
