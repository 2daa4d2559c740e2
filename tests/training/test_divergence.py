"""A number that is not finite, anywhere in a random step: found there, and nothing good is lost."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from budgets import amount, torture
from carousel.errors import DivergenceError
from carousel.models.checkpoint import load_model
from carousel.training.fit import End
from carousel.training.run_folder import RunFolder, read_metrics
from carousel.training.setup import init_from
from carousel.training.trainer import Trainer
from training.small_runs import (
    FAMILIES,
    VOCABULARY,
    assert_same_bits,
    open_run,
    settings,
    whole_state,
)

TRIALS = amount(1, 10)  # of each kind and batching: 10 in all, or 100
STEPS = 24

Poison = Callable[[Trainer, int, float, random.Random], Any]


@contextmanager
def into_the_loss(t: Trainer, step: int, bad: float, draw: random.Random) -> Iterator[None]:
    """One logit of one character."""

    def hook(module: nn.Module, args: object, out: Any) -> Any:
        if not (module.training and t.step == step - 1):
            return out
        logits, state = out
        place = torch.zeros_like(logits)
        place.view(-1)[draw.randrange(place.numel())] = bad
        return logits + place, state

    with t.model.register_forward_hook(hook):
        yield


@contextmanager
def into_a_gradient(t: Trainer, step: int, bad: float, draw: random.Random) -> Iterator[None]:
    """One number of the gradient of a random parameter."""
    parameter = draw.choice(list(t.model.parameters()))
    place = draw.randrange(parameter.numel())

    def hook(gradient: Tensor) -> Tensor:
        if t.step != step - 1:
            return gradient
        damaged = gradient.clone()
        damaged.view(-1)[place] = bad
        return damaged

    handle = parameter.register_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def into_the_state(t: Trainer, step: int, bad: float, draw: random.Random) -> Iterator[None]:
    """One number of what the step hands to the next; its own loss is still finite."""

    def hook(module: nn.Module, args: object, out: Any) -> Any:
        if not (module.training and t.step == step - 1):
            return out
        logits, state = out
        k = draw.choice([k for k, part in enumerate(state) if part.is_floating_point()])
        damaged = state[k].clone()
        damaged.view(-1)[draw.randrange(damaged.numel())] = bad
        return logits, (*state[:k], damaged, *state[k + 1 :])

    with t.model.register_forward_hook(hook):
        yield


@contextmanager
def into_the_beginning(t: Trainer, step: int, bad: float, draw: random.Random) -> Iterator[None]:
    """A whole state with which the step begins."""

    def hook(module: nn.Module, args: Any) -> Any:
        if not (module.training and t.step == step - 1):
            return None
        tokens = args[0]
        state = t.model.initial_state(len(tokens))
        return tokens, tuple(
            torch.full_like(tensor, bad) if tensor.is_floating_point() else tensor
            for tensor in state
        )

    with t.model.register_forward_pre_hook(hook):
        yield


@contextmanager
def into_every_gradient(t: Trainer, step: int, bad: float, draw: random.Random) -> Iterator[None]:
    """The loss is finite, its gradient is not: through the reverse of the loss itself."""

    def hook(module: nn.Module, args: object, out: Any) -> Any:
        if not (module.training and t.step == step - 1):
            return out
        logits, state = out
        logits.register_hook(lambda gradient: gradient * bad)
        return logits, state

    with t.model.register_forward_hook(hook):
        yield


KINDS: dict[str, Poison] = {
    "loss": into_the_loss,
    "gradient": into_a_gradient,
    "every gradient": into_every_gradient,
    "state": into_the_state,
    "beginning": into_the_beginning,
}


@torture
@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("batching", ["lanes", "windows"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_found_at_its_step_and_the_state_before_it_kept(
    tmp_path: Path, kind: str, batching: str, trial: int
) -> None:
    draw = random.Random(f"{kind} {batching} {trial}")
    step, bad = draw.randint(2, STEPS), draw.choice([math.nan, math.inf, -math.inf])
    if kind == "loss":  # a logit of minus infinity is a chance of zero, and no error
        bad = draw.choice([math.nan, math.inf])
    given, path = settings(batching=batching), tmp_path / "run"
    run = open_run(path, given)
    with (
        KINDS[kind](run.trainer, step, bad, draw),
        pytest.raises(DivergenceError, match=rf"^step {step}: .*; the last good state is kept in "),
    ):
        run.events()
    left = whole_state(run.trainer)
    assert RunFolder(path).saved_steps()[-1] == step - 1
    assert (path / "last").read_text() == f"{step - 1:08d}\n"
    assert max(record["step"] for record in read_metrics(path)) == step - 1
    other = open_run(tmp_path / "other", given, stop=lambda trainer: trainer.step == step - 1)
    other.events()
    undisturbed = whole_state(other.trainer)
    assert_same_bits(left, undisturbed)
    # It can be gone on from, as it is or as the start of a new run, to the end.
    fresh = open_run(tmp_path / "fresh", given)
    source = load_model(path / "checkpoints" / f"{step - 1:08d}")
    assert init_from(source, fresh.trainer.model, VOCABULARY) == len(VOCABULARY)
    assert fresh.events()[-1] == End("finished", STEPS)
    again = open_run(path, given)
    assert_same_bits(whole_state(again.trainer), undisturbed)
    assert again.events()[-1] == End("finished", STEPS)


# The mlp's state is ids, which are finite; an unwritten key, were it read, would be found as well.
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("mlp", "loss"),
        ("mlp", "gradient"),
        ("transformer", "gradient"),
        ("transformer", "state"),
        ("learned positions", "every gradient"),
    ],
)
def test_it_is_found_in_other_families_too(tmp_path: Path, family: str, kind: str) -> None:
    model, training = FAMILIES[family]
    given, draw, step = settings(model, **training), random.Random(0), 9
    run = open_run(tmp_path / "run", given)
    with (
        KINDS[kind](run.trainer, step, math.nan, draw),
        pytest.raises(DivergenceError, match=rf"^step {step}: .*; the last good state is kept in "),
    ):
        run.events()
    other = open_run(tmp_path / "other", given, stop=lambda trainer: trainer.step == step - 1)
    other.events()
    assert_same_bits(whole_state(run.trainer), whole_state(other.trainer))
    assert open_run(tmp_path / "run", given).events()[-1] == End("finished", STEPS)


@pytest.mark.parametrize("where", ["weights", "carried"])
def test_what_is_not_finite_is_not_saved_as_good(tmp_path: Path, where: str) -> None:
    """Should memory itself go bad between two steps, the checkpoint before is the last good one."""

    def spoil(trainer: Trainer) -> bool:
        if trainer.step == 6:
            tensor = (trainer.state or ())[0] if where == "carried" else trainer_weight(trainer)
            tensor.data.view(-1)[0] = math.nan
        return False

    given = settings(eval_every=100)
    run = open_run(tmp_path, given, time_is_up=spoil)
    with pytest.raises(DivergenceError, match=r"^step 7: the loss is nan .*; the last good state"):
        run.events()
    assert open_run(tmp_path, given).trainer.step == 4


def trainer_weight(trainer: Trainer) -> Tensor:
    return next(parameter for parameter in trainer.model.parameters() if parameter.dim() == 1)


def test_a_state_that_bursts_is_named(tmp_path: Path) -> None:
    """A cell may overflow while its output, tanh of it, and so the loss stay finite."""
    run = open_run(tmp_path, settings())
    with (
        into_the_state(run.trainer, 5, math.inf, random.Random(0)),
        pytest.raises(DivergenceError) as caught,
    ):
        run.events()
    assert ", the state after it not finite; the last good state" in str(caught.value)
