"""One step: what it computes, what it refuses, and what it leaves as it was."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from carousel.errors import CheckpointError, DivergenceError
from carousel.models.loss import cross_entropy
from carousel.training.optimizers import Optimizers
from carousel.training.setup import new_trainer, resolve, seconds_per_step
from carousel.training.trainer import Trainer, restore, starting_state, state_files, train_step
from training.small_runs import (
    FAMILIES,
    TRAIN,
    VOCABULARY,
    assert_same_bits,
    settings,
    whole_state,
)

KINDS = pytest.mark.parametrize("batching", ["lanes", "windows"])


def trainer(model: dict[str, Any] | None = None, **training: Any) -> Trainer:
    return new_trainer(
        resolve(settings(model, **training), len(TRAIN)), len(VOCABULARY), TRAIN, "cpu"
    )


# What a step computes.


@KINDS
def test_a_step_follows_the_gradient_of_the_mean_loss(batching: str) -> None:
    """Against steps written out with torch: forward, backward, clip, update."""
    ours, theirs = (trainer({"dropout": 0.0}, batching=batching) for _ in range(2))
    state, beginnings = None, set()
    for step in range(22):  # into the second epoch
        report = train_step(ours)
        batch = theirs.batches.batch(step)
        fresh = torch.from_numpy(batch.fresh)
        if state is not None:
            state = tuple(s * ~fresh[:, None] for s in state)
        logits, state = theirs.model(torch.from_numpy(batch.tokens), state)
        beginnings.add(f"{int(fresh.sum())} of {len(fresh)} rows")
        loss = cross_entropy(logits, torch.from_numpy(batch.targets)).mean()
        theirs.model.zero_grad()
        loss.backward()
        state = tuple(s.detach() for s in state)
        norm = torch.cat([p.grad.flatten() for p in theirs.model.parameters()]).norm()
        for p in theirs.model.parameters():
            p.grad *= min(1.0, 1.0 / norm)
        (adam,) = theirs.optimizers.rules
        adam.param_groups[0]["lr"] = report.learning_rate
        adam.step()
        assert report.loss == pytest.approx(loss.item(), rel=1e-5)
        assert report.grad_norm == pytest.approx(norm.item(), rel=1e-5)
        assert report.step == step + 1 == ours.step
    for (name, p), q in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4, msg=name)
    assert "3 of 3 rows" in beginnings
    assert beginnings >= ({"0 of 3 rows", "1 of 3 rows"} if batching == "lanes" else set())


def test_clipping_bounds_the_norm_over_all_parameters() -> None:
    reports, gradients = [], []
    for max_norm in (0.0, 1e-3):  # 0 leaves the gradient
        t = trainer(max_grad_norm=max_norm)
        reports.append(train_step(t))
        gradients.append(torch.cat([p.grad.flatten() for p in t.model.parameters()]))
    free, clipped = gradients
    assert reports[0].grad_norm == reports[1].grad_norm == pytest.approx(free.norm().item())
    assert free.norm() > 0.01
    torch.testing.assert_close(clipped, free * 1e-3 / free.norm(), rtol=1e-4, atol=1e-9)


def test_the_learning_rate_is_the_schedules() -> None:
    t = trainer(learning_rate=1.0, warmup_steps=2, schedule="linear", steps=24)
    rates = []
    for _ in range(4):
        rates.append(train_step(t).learning_rate)
        (adam,) = t.optimizers.rules
        assert all(group["lr"] == rates[-1] for group in adam.param_groups)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 21 / 22])


def test_each_rule_has_the_same_fraction_of_its_own_peak() -> None:
    t = trainer(optimizer="muon", learning_rate=1.0, muon_learning_rate=0.5, warmup_steps=2)
    adam, muon = t.optimizers.rules
    for _ in range(4):
        rate = train_step(t).learning_rate
        assert {group["lr"] for group in adam.param_groups} == {rate}
        assert {group["lr"] for group in muon.param_groups} == {rate / 2}


def test_bf16_keeps_weights_and_state_in_single_precision() -> None:
    t = trainer(precision="bf16")
    reports = [train_step(t) for _ in range(3)]
    assert all(math.isfinite(report.loss) for report in reports)
    assert {p.dtype for p in t.model.parameters()} == {torch.float32}
    assert {s.dtype for s in t.state or ()} == {torch.float32}
    exact = trainer(precision="float32")
    assert (
        train_step(exact).loss != reports[0].loss == pytest.approx(train_step(exact).loss, rel=0.1)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_in_other_families(family: str) -> None:
    """Keys, values, residual stream and windows stay in single precision; counts stay whole."""
    model, training = FAMILIES[family]
    t, exact = (trainer(model, **training, precision=p) for p in ("bf16", "float32"))
    reports = [train_step(t) for _ in range(3)]
    assert all(math.isfinite(report.loss) for report in reports)
    assert {p.dtype for p in t.model.parameters()} == {torch.float32}
    kinds = [s.dtype for s in t.state or ()]
    assert kinds == [s.dtype for s in t.model.initial_state(3)]
    assert set(kinds) <= {torch.float32, torch.int64}
    loss = train_step(exact).loss
    assert loss != reports[0].loss == pytest.approx(loss, rel=0.1)


@pytest.mark.parametrize("family", ["mlp", "transformer"])
def test_a_fresh_row_forgets_and_the_others_go_on(family: str) -> None:
    t = trainer(FAMILIES[family][0] | {"dropout": 0.0})
    met = set()
    for _ in range(22):  # into the second epoch
        train_step(t)
        batch, before = t.batches.batch(t.step), t.state
        state = starting_state(t, batch)
        met.add(int(batch.fresh.sum()))
        logits, _ = t.model(torch.from_numpy(batch.tokens), state)
        for row, is_fresh in enumerate(batch.fresh):
            tokens = torch.from_numpy(batch.tokens[row : row + 1])
            own = None if is_fresh else tuple(s[:, row : row + 1] for s in before or ())
            alone, _ = t.model(tokens, own)
            torch.testing.assert_close(logits[row : row + 1], alone)
    assert met >= {0, 1, 3}


def test_the_seed_decides_everything() -> None:
    once, again, other = (train_step(trainer(seed=seed)) for seed in (1, 1, 2))
    assert once == again != other


def by_heart(family: dict[str, Any]) -> list[float]:
    """The losses of 150 steps on one sentence."""
    text = VOCABULARY.encode("the queen and the frog; a")
    sizes = {"hidden_size": 32, "embedding_size": 16, "num_layers": 1, "dropout": 0.0}
    config = resolve(
        settings(
            sizes | family,
            sequence_length=24,
            batch_size=1,
            batching="windows",
            steps=150,
            learning_rate=2e-2,
        ),
        len(text),
    )
    t = new_trainer(config, len(VOCABULARY), text, "cpu")
    return [train_step(t).loss for _ in range(150)]


def test_it_learns_25_characters_by_heart() -> None:
    """From log V to almost nothing: the whole chain of loss, gradient and update works."""
    losses = by_heart({})
    assert losses[0] == pytest.approx(math.log(len(VOCABULARY)), rel=0.1)
    assert losses[-1] < 0.05


@pytest.mark.parametrize(
    "family",
    [
        {"model": "mlp", "context_length": 8},
        {"model": "transformer", "context_length": 8},
        {"model": "transformer", "context_length": 24, "positions": "learned"},
    ],
    ids=["mlp", "transformer", "learned positions"],
)
def test_other_families_learn_them_too(family: dict[str, Any]) -> None:
    losses = by_heart(family)
    assert losses[0] > 2.5
    assert losses[-1] < 0.05


# What it refuses.


def nan_loss(model: nn.Module) -> None:
    model.register_forward_hook(lambda module, args, out: (out[0] * math.nan, out[1]))


def infinite_gradient(model: nn.Module) -> None:
    """The loss is fine and one gradient is not, as when a product overflows on the way back."""
    next(model.parameters()).register_hook(lambda gradient: gradient + math.inf)


@KINDS
@pytest.mark.parametrize("fault", [nan_loss, infinite_gradient])
def test_a_step_that_is_not_finite_changes_nothing(
    batching: str, fault: Callable[[nn.Module], None]
) -> None:
    t = trainer(batching=batching)
    for _ in range(3):
        train_step(t)
    before = whole_state(t)
    fault(t.model)
    with pytest.raises(DivergenceError, match=r"step 4: the loss is .* and the gradient norm"):
        train_step(t)
    assert_same_bits(whole_state(t), before)


@KINDS
def test_a_count_that_is_no_whole_number_is_refused(batching: str) -> None:
    """Of the transformer's cache: what is filled is counted in int64, and comes back so."""
    t = trainer(FAMILIES["transformer"][0], batching=batching)
    train_step(t)
    files = state_files(t)
    tensors = safetensors.torch.load(files["trainer.safetensors"])
    assert tensors["carried.2"].dtype == torch.int64
    assert tensors["carried.2"].tolist() == [[5] * 3]
    tensors["carried.2"] = tensors["carried.2"].float()
    with pytest.raises(CheckpointError, match=r"the carried state is torch\.float32 \(1, 3\)"):
        restore(t, files | {"trainer.safetensors": safetensors.torch.save(tensors)})


@KINDS
def test_measuring_the_speed_changes_nothing(batching: str) -> None:
    measured, other = trainer(batching=batching), trainer(batching=batching)
    torch.manual_seed(3)
    before = whole_state(measured)
    assert seconds_per_step(measured) > 0
    assert_same_bits(whole_state(measured), before)
    report = train_step(measured)
    torch.manual_seed(3)
    assert train_step(other) == report


def test_the_speed_is_that_of_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the update too, which of Muon is a good part of a step."""
    measured = trainer(optimizer="muon")
    monkeypatch.setattr(Optimizers, "step", lambda self, fraction: time.sleep(0.05))
    assert seconds_per_step(measured) > 0.05


# Down to bytes and back.


@KINDS
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_pack_and_restore_keep_every_bit(batching: str, optimizer: str) -> None:
    t = trainer(batching=batching, optimizer=optimizer)
    for _ in range(3):
        train_step(t)
    files, state = state_files(t), whole_state(t)
    following = [train_step(t) for _ in range(3)]
    other = trainer(batching=batching, optimizer=optimizer)
    for name, p in other.model.named_parameters():
        p.data.copy_(state[f"weight.{name}"])
    restore(other, files)
    assert_same_bits(whole_state(other), state)
    assert [train_step(other) for _ in range(3)] == following


def without(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.__delitem__(name)


def with_(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.__setitem__(name, tensor)


@pytest.mark.parametrize(
    "change",
    [
        without("random.torch"),
        with_("random.torch", torch.zeros(3, dtype=torch.uint8)),
        without("optimizer.output.bias.exp_avg"),
        with_("optimizer.output.bias.exp_avg", torch.zeros(3)),
        with_("optimizer.embedding.weight.exp_avg_sq", torch.zeros(1, dtype=torch.float64)),
        with_("optimizer.nobody.exp_avg", torch.zeros(3)),
        without("carried.0"),
        with_("carried.1", torch.zeros(2, 3, 9)),
        with_("carried.2", torch.zeros(2, 3, 8)),
    ],
)
def test_a_state_that_is_not_of_this_run_is_refused(
    change: Callable[[dict[str, Tensor]], None],
) -> None:
    t = trainer()
    train_step(t)
    files = state_files(t)
    tensors = safetensors.torch.load(files["trainer.safetensors"])
    change(tensors)
    with pytest.raises(
        CheckpointError, match=r"^trainer.safetensors (does not fit this run|is not complete): "
    ):
        restore(t, files | {"trainer.safetensors": safetensors.torch.save(tensors)})


@pytest.mark.parametrize("name", ["trainer.json", "trainer.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"nonsense"])
def test_files_of_nonsense_are_refused(name: str, content: bytes) -> None:
    t = trainer()
    train_step(t)
    with pytest.raises(CheckpointError):
        restore(t, state_files(t) | {name: content})


def test_an_optimizer_state_that_is_missing_is_refused() -> None:
    t = trainer()
    train_step(t)
    files = state_files(trainer()) | {"trainer.json": json.dumps({"step": 1}).encode()}
    with pytest.raises(CheckpointError, match="is not complete"):
        restore(t, files)
