"""Fitting a SequenceModel to examples: what ends it, what it leaves, and that seeds decide it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from carousel.errors import ConfigError, DataError, DivergenceError
from carousel.models.config import ModelConfig
from carousel.models.loss import cross_entropy
from carousel.models.sequence import SequenceModel
from carousel.training.supervised import (
    Epoch,
    Examples,
    FitResult,
    Objective,
    evaluate_examples,
    fit_examples,
    negative_log_likelihood,
    order,
    predict,
    squared_error,
)
from carousel.training.supervised_config import SupervisedConfig

CONFIG = SupervisedConfig(epochs=4, batch_size=5, patience=0, seed=3)
N, T = 23, 6


def model(seed: int = 3, *, classes: int = 1, every: bool = False, **config: Any) -> SequenceModel:
    torch.manual_seed(seed)
    sizes = ModelConfig(model=config.pop("model", "gru"), embedding_size=4, hidden_size=7, **config)
    supervision = "every" if every else "last"
    return SequenceModel(sizes, input_size=2, output_size=classes, supervision=supervision)


def sums(count: int = N, seed: int = 0) -> Examples:
    """The sum of the first feature is asked for."""
    inputs = torch.randn(count, T, 2, generator=torch.Generator().manual_seed(seed))
    return Examples(inputs, inputs[:, :, :1].sum(1))


def signs(count: int = 60, *, every: bool = False) -> Examples:
    """Of three classes: is the running sum low, near zero, or high?"""
    inputs = torch.randn(count, T, 2, generator=torch.Generator().manual_seed(1))
    running = inputs[:, :, 0].cumsum(1)
    classes = (running > -0.7).long() + (running > 0.7).long()
    return Examples(inputs, classes if every else classes[:, -1])


def fitted(
    ours: SequenceModel, config: SupervisedConfig = CONFIG, validation: Examples | None = None
) -> list[Epoch | FitResult]:
    judge = sums(9, seed=1) if validation is None else validation
    return list(fit_examples(ours, sums(), judge, squared_error, config))


def weights(ours: SequenceModel) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in ours.state_dict().items()}


def test_an_epoch_is_reported_and_the_end_comes_last() -> None:
    *epochs, end = fitted(model())
    assert [type(event) for event in epochs] == [Epoch] * 4
    assert [event.number for event in epochs] == [1, 2, 3, 4]
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert end == FitResult("finished", 4, best.number, best.validation_loss)
    lowest = math.inf
    for epoch in epochs:
        assert epoch.is_best == (epoch.validation_loss < lowest)
        lowest = min(lowest, epoch.validation_loss)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "mlp", "transformer"])
def test_the_same_seed_gives_the_same_bits(kind: str) -> None:
    heads = {"num_heads": 2} if kind == "transformer" else {}

    def run(seed: int) -> tuple[list[Epoch | FitResult], dict[str, bytes]]:
        ours = model(seed, model=kind, dropout=0.3, **heads)
        config = SupervisedConfig(epochs=2, batch_size=5, patience=0, seed=seed)
        return fitted(ours, config), weights(ours)

    once = run(3)
    assert run(3) == once
    assert run(4)[1] != once[1]


def test_each_epoch_goes_through_all_examples_once_in_an_order_of_its_own() -> None:
    orders = [order(7, epoch, 50).tolist() for epoch in range(4)]
    assert all(sorted(each) == list(range(50)) for each in orders)
    assert len({tuple(each) for each in [*orders, order(8, 0, 50).tolist()]}) == 5
    assert orders[2] == order(7, 2, 50).tolist()


def test_the_order_never_changes() -> None:
    # Written down once: a fit repeated years later, under another numpy, sees the same batches.
    assert order(0, 1, 8).tolist() == [0, 1, 6, 5, 3, 7, 2, 4]


def test_a_step_is_adams_along_the_clipped_gradient_of_a_batch() -> None:
    """One epoch, done again by hand."""
    config = SupervisedConfig(
        epochs=1, batch_size=5, seed=3, learning_rate=0.01, max_grad_norm=0.05
    )
    ours, theirs = model(), model()
    epoch, _ = fitted(ours, config)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    inputs, targets = sums()
    places, total = order(3, 1, N), 0.0
    for rows in (places[:5], places[5:10], places[10:15], places[15:20], places[20:]):
        optimizer.zero_grad()
        loss = ((theirs(inputs[rows])[0] - targets[rows]) ** 2).mean()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in theirs.parameters()))
        assert norm > 0.05
        for parameter in theirs.parameters():
            parameter.grad *= 0.05 / norm
        optimizer.step()
        total += loss.item() * len(rows)
    assert isinstance(epoch, Epoch)
    assert epoch.loss == pytest.approx(total / N, rel=1e-6)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


def test_it_stops_when_validation_no_longer_improves_and_keeps_the_best_weights() -> None:
    noise = Examples(sums(9, seed=1).inputs, torch.zeros(9, 1))  # learning the sum does harm
    config = SupervisedConfig(epochs=60, batch_size=5, patience=3, learning_rate=0.02)
    ours = model()
    *epochs, end = fitted(ours, config, noise)
    assert end.ending == "no longer improving"
    assert end.epochs == len(epochs) == end.best_epoch + 3 < 60
    assert evaluate_examples(ours, noise, squared_error) == end.best_loss
    again = model()
    fewer = SupervisedConfig(epochs=end.best_epoch, batch_size=5, patience=3, learning_rate=0.02)
    fitted(again, fewer, noise)
    assert weights(again) == weights(ours)


def test_validation_draws_nothing_and_learns_nothing() -> None:
    """What is validated on decides when to stop, and no weight before that."""
    judges = (sums(9, seed=1), sums(700, seed=5))
    runs = [fitted(model(dropout=0.4), validation=judge) for judge in judges]
    losses = [[event.loss for event in run if isinstance(event, Epoch)] for run in runs]
    assert losses[0] == losses[1]


def test_training_drops_out() -> None:
    once = SupervisedConfig(epochs=1, batch_size=N, learning_rate=1e-9)
    plain, dropping = (fitted(model(dropout=p), once)[0] for p in (0.0, 0.5))
    assert plain.validation_loss == pytest.approx(dropping.validation_loss, rel=1e-4)
    assert abs(plain.loss - dropping.loss) > 0.01 * plain.loss


def test_predictions_are_those_of_one_call_without_dropout() -> None:
    ours, inputs = model(dropout=0.5), sums(1100).inputs
    with torch.no_grad():
        torch.testing.assert_close(predict(ours, inputs), ours.eval()(inputs)[0])
    assert not predict(ours, inputs).requires_grad


def test_regression_is_learned() -> None:
    train, judge = sums(200), sums(100, seed=1)
    ours = model()
    config = SupervisedConfig(epochs=20, batch_size=20, learning_rate=0.03)
    *_, end = fit_examples(ours, train, judge, squared_error, config)
    assert end.best_loss < 0.05 * float(judge.targets.var())


@pytest.mark.parametrize("every", [False, True])
def test_classification_is_learned(every: bool) -> None:
    examples = signs(300, every=every)
    train, judge = (Examples(*(part[rows] for part in examples)) for rows in HALVES)
    ours = model(classes=3, every=every)
    config = SupervisedConfig(epochs=15, batch_size=20, learning_rate=0.03)
    before = evaluate_examples(ours, judge, negative_log_likelihood)
    *_, end = fit_examples(ours, train, judge, negative_log_likelihood, config)
    assert before > 0.9
    assert end.best_loss < 0.4 * before
    right = (predict(ours, judge.inputs).argmax(-1) == judge.targets).float().mean()
    assert right > 0.85


def test_ids_are_learned_from_too() -> None:
    torch.manual_seed(0)
    ids = torch.randint(4, (80, T))
    sizes = ModelConfig(model="lstm", embedding_size=4, hidden_size=8)
    ours = SequenceModel(sizes, vocab_size=4, output_size=4)
    examples = Examples(ids, ids[:, -2])  # the last id but one
    config = SupervisedConfig(epochs=20, batch_size=10, learning_rate=0.05)
    *_, end = fit_examples(ours, examples, examples, negative_log_likelihood, config)
    assert end.best_loss < 0.2


HALVES = (slice(0, 200), slice(200, 300))


def test_losses_are_what_they_are_defined_as() -> None:
    torch.manual_seed(0)
    answers, targets = torch.randn(4, 3), torch.tensor([0, 2, 1, 2])
    rows = [-torch.log_softmax(answers[k], 0)[targets[k]] for k in range(4)]
    expected = torch.stack(rows).mean()
    torch.testing.assert_close(negative_log_likelihood(answers, targets), expected)
    logits, classes = torch.randn(2, 5, 3), torch.randint(3, (2, 5))
    expected = cross_entropy(logits, classes).mean()
    torch.testing.assert_close(negative_log_likelihood(logits, classes), expected)
    assert squared_error(torch.tensor([[1.0], [4.0]]), torch.tensor([[2.0], [1.0]])).item() == 5


@pytest.mark.parametrize(
    ("objective", "targets"),
    [(squared_error, torch.zeros(N)), (negative_log_likelihood, torch.zeros(N, 1).long())],
    ids=["regression", "classification"],
)
def test_targets_of_another_shape_are_refused(objective: Objective, targets: Tensor) -> None:
    """Else torch would spread one over the other, and learn the mean."""
    examples = Examples(sums().inputs, targets)
    with pytest.raises(DataError, match=r"answers are \(5, 1\), targets \(5"):
        list(fit_examples(model(), examples, examples, objective, CONFIG))


def test_no_examples_are_refused() -> None:
    for train, validation in ((sums(0), sums()), (sums(), sums(0))):
        with pytest.raises(DataError, match="there must be examples to train and to validate on"):
            list(fit_examples(model(), train, validation, squared_error, CONFIG))


def test_a_loss_that_is_not_finite_is_named() -> None:
    inputs, targets = sums()
    bad = Examples(inputs, targets.clone())
    bad.targets[5] = math.nan
    message = r"epoch 1: the loss is nan; a smaller step \(--learning-rate 0.00075\) may help"
    with pytest.raises(DivergenceError, match=message):
        list(fit_examples(model(), bad, sums(), squared_error, CONFIG))
    with pytest.raises(DivergenceError, match="epoch 1: the validation loss is nan; a smaller"):
        list(fit_examples(model(), sums(), bad, squared_error, CONFIG))


def test_a_gradient_that_is_not_finite_changes_no_weight() -> None:
    ours = model()
    before = weights(ours)

    def steep(answers: Tensor, targets: Tensor) -> Tensor:
        return (answers - answers.detach()).abs().sqrt().sum()  # 0, its slope infinite

    with pytest.raises(DivergenceError, match="epoch 1: the gradient norm is nan"):
        list(fit_examples(ours, sums(), sums(), steep, CONFIG))
    assert weights(ours) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number, at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, at least 1, got 0"),
        ({"patience": -1}, "patience must be a whole number, at least 0, got -1"),
        ({"seed": -1}, r"seed must be a whole number, at least 0, at most 2\^64 - 1, got -1"),
        (
            {"seed": 2**64},
            r"seed must be a whole number, at least 0, at most 2\^64 - 1, got 18446744073709551616",
        ),
        (
            {"learning_rate": 0.0},
            r"learning_rate must be a finite number, above 0, at most 1,000,000, got 0.0",
        ),
        (
            {"learning_rate": math.nan},
            r"learning_rate must be a finite number, above 0, at most 1,000,000, got nan",
        ),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be a finite number, at least 0, got -1.0"),
        ({"max_grad_norm": math.inf}, "max_grad_norm must be a finite number, at least 0, got inf"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SupervisedConfig(**setting)
