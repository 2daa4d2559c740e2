"""One optimiser step, and the whole state of a training run as bytes.

After step k everything that decides step k + 1 stands in a Trainer: weights, optimiser, carried
state, torch's random generators and k itself (batches are a function of k). `pack` writes that
down and `restore` puts it back, so that a resumed run computes the same bits.
"""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from carousel.data.batches import Batch, ContiguousBatches, RandomWindows
from carousel.errors import DivergenceError
from carousel.models.base import LanguageModel, State
from carousel.models.checkpoint_files import blame
from carousel.models.loss import cross_entropy
from carousel.models.tensor_file import check_like, read_header, read_tensors
from carousel.training.config import TrainingConfig
from carousel.training.optimizers import Optimizers
from carousel.training.schedule import lr_scale


@dataclass
class Trainer:
    """A model being trained.

    Attributes:
        model: What is fitted.
        optimizers: Over the parameters of the model.
        batches: Batch k as a function of k.
        config: Settings of the run.
        steps: The end of the schedule.
        step: Optimiser steps done.
        state: The model's state after the last window; None where the next window starts from zero.
    """

    model: LanguageModel
    optimizers: Optimizers
    batches: RandomWindows | ContiguousBatches
    config: TrainingConfig
    steps: int
    step: int = 0
    state: State | None = None


@dataclass(frozen=True)
class StepReport:
    """One step.

    Attributes:
        step: Its number, from 1.
        loss: In nats per character.
        grad_norm: Before clipping.
        learning_rate: Adam's; other rules have the same fraction of their own peak.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float


def train_step(trainer: Trainer) -> StepReport:
    """Run one optimiser step with the clipped gradient of the mean loss of the next batch.

    Raises:
        DivergenceError: If loss, gradient or the state after the window is not finite; the trainer
            is then as it was before.
    """
    model, config = trainer.model, trainer.config
    generators = random_state(_device(model))
    batch = trainer.batches.batch(trainer.step)
    model.zero_grad(set_to_none=True)
    loss, state = backpropagate(trainer, batch, starting_state(trainer, batch))
    max_norm = config.max_grad_norm or float("inf")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    are_finite = (part.isfinite().all() for part in state)
    # In one tensor, so that a GPU is waited for once in a step.
    nats, size, *checks = torch.stack([loss, norm, *are_finite]).tolist()
    of_peak = lr_scale(trainer.step + 1, trainer.steps, config)
    report = StepReport(
        step=trainer.step + 1, loss=nats, grad_norm=size, learning_rate=of_peak * config.peak
    )
    is_finite = math.isfinite(nats) and math.isfinite(size)
    if not (is_finite and all(checks)):
        set_random_state(generators)
        state_too = ", the state after it not finite" if is_finite else ""
        raise DivergenceError(
            f"step {report.step}: the loss is {report.loss:.4g} "
            f"and the gradient norm {report.grad_norm:.4g}{state_too}"
        )
    trainer.optimizers.step(of_peak)
    trainer.state = tuple(tensor.detach() for tensor in state)
    trainer.step += 1
    return report


def is_sound(trainer: Trainer) -> bool:
    """Return whether weights and carried state are finite, so that they are worth saving."""
    return _all_finite((*trainer.model.parameters(), *(trainer.state or ())))


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def starting_state(trainer: Trainer, batch: Batch) -> State | None:
    """Return the state that a batch begins with: zero in its fresh rows, carried in the others."""
    if trainer.state is None or batch.fresh.all():
        return None
    if not batch.fresh.any():
        return trainer.state
    fresh = torch.from_numpy(batch.fresh).to(_device(trainer.model))
    zero = trainer.model.initial_state(len(batch.fresh))
    return tuple(
        torch.where(fresh.view(1, -1, *[1] * (s.dim() - 2)), z, s)
        for z, s in zip(zero, trainer.state, strict=True)
    )


def backpropagate(trainer: Trainer, batch: Batch, state: State | None) -> tuple[Tensor, State]:
    """Add the gradient of a batch's mean loss to the parameters; return the loss and the state."""
    device = _device(trainer.model)
    tokens, targets = (torch.from_numpy(a).to(device) for a in (batch.tokens, batch.targets))
    trainer.model.train()
    with _precision(trainer.config, device):
        logits, state = trainer.model(tokens, state)
    loss = cross_entropy(logits, targets).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), state


def _precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[Any]:
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _device(model: LanguageModel) -> torch.device:
    return next(model.parameters()).device


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of each generator that a step on a device may draw from, by its name."""
    states = {"torch": torch.get_rng_state()}
    if device.type in ("cuda", "mps"):
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor]) -> None:
    """Restore what random_state returned."""
    torch.set_rng_state(states["torch"])
    for name in states.keys() & {"cuda", "mps"}:
        torch.get_device_module(name).set_rng_state(states[name])


def state_files(trainer: Trainer) -> dict[str, bytes]:
    """Return the trainer's own files: everything but the weights, which the model's file holds."""
    names: dict[Tensor, str] = {p: name for name, p in trainer.model.named_parameters()}
    generators = random_state(_device(trainer.model))
    tensors = {f"random.{name}": state for name, state in generators.items()}
    for p, slots in trainer.optimizers.state.items():
        tensors |= {f"optimizer.{names[p]}.{slot}": tensor for slot, tensor in slots.items()}
    for k, tensor in enumerate(trainer.state or ()):
        tensors[f"carried.{k}"] = tensor
    return {
        "trainer.safetensors": safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        ),
        "trainer.json": json.dumps({"step": trainer.step}).encode(),
    }


def restore(trainer: Trainer, files: Mapping[str, bytes]) -> None:
    """Restore what state_files returned, except the weights.

    Raises:
        CheckpointError: If the files are not those of this trainer, which may then be half changed.
    """
    with blame("trainer.json", "does not fit this run"):
        step = json.loads(files["trainer.json"])["step"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r}")
    with blame("trainer.safetensors", "does not fit this run"):
        data = files["trainer.safetensors"]
        tensors = read_tensors(data, read_header(data))
        _restore_optimizer(trainer, _under("optimizer.", tensors), step)
        carried = _under("carried.", tensors)
        trainer.state = _carried(trainer, [carried[f"{k}"] for k in range(len(carried))])
        usable = ("torch", _device(trainer.model).type)
        generators = _under("random.", tensors).items()
        set_random_state({name: state for name, state in generators if name in usable})
    trainer.step = step


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): tensors[k] for k in tensors if k.startswith(prefix)}


def _restore_optimizer(trainer: Trainer, saved: Mapping[str, Tensor], step: int) -> None:
    """Restore the optimiser's slots of each parameter, after checking names and shapes."""
    names: dict[Tensor, str] = {p: name for name, p in trainer.model.named_parameters()}
    state = {p: _under(f"{name}.", saved) for p, name in names.items()}
    if sum(map(len, state.values())) != len(saved):
        raise ValueError("the optimiser's state is of other parameters")
    for parameter, slots in trainer.optimizers.slots.items():
        name, own = names[parameter], state[parameter]
        if own.keys() != (slots if saved or step > 0 else set()):
            raise ValueError(f"the optimiser's state of {name} is not complete")
        for slot, tensor in own.items():
            like = torch.zeros(()) if slot == "step" else parameter
            check_like(tensor, like, f"{slot} of {name}", "this run")
            if slot == "step" and tensor.item() != step:
                counted = f"{tensor.item():g} steps of {name}"
                raise ValueError(f"the optimiser counts {counted}, not {step}")
            own[slot] = tensor if slot == "step" else tensor.to(parameter.device)
    trainer.optimizers.set_state(state)


def _carried(trainer: Trainer, saved: list[Tensor]) -> State | None:
    """Return the saved state on the model's device, if it is one of this model and batch size."""
    if not saved:
        return None
    expected = trainer.model.initial_state(trainer.config.batch_size)
    for tensor, own in zip(saved, expected, strict=True):
        check_like(tensor, own, "the carried state", "this run")
    return tuple(tensor.to(own.device) for tensor, own in zip(saved, expected, strict=True))
