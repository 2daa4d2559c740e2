"""One optimiser step, and the whole state of a training run as bytes.

After step k everything that decides step k + 1 stands in a Trainer: weights, optimiser, carried
state, torch's random generators and k itself (batches are a function of k). `pack` writes that
down and `restore` puts it back, so that a resumed run computes the same bits.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from carousel.errors import CheckpointError, DivergenceError
from carousel.models.base import LanguageModel, State
from carousel.models.loss import cross_entropy
from carousel.text.batches import Lanes, RandomWindows
from carousel.training.config import TrainingConfig
from carousel.training.schedule import learning_rate


@dataclass
class Trainer:
    """A model being trained.

    Attributes:
        model: What is fitted.
        optimizer: Over the parameters of the model, in their order.
        batches: Batch k as a function of k.
        config: Settings of the run.
        steps: The end of the schedule.
        step: Optimiser steps done.
        carried: State after the last window; None where the next window starts from zero.
    """

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    batches: RandomWindows | Lanes
    config: TrainingConfig
    steps: int
    step: int = 0
    carried: State | None = None


@dataclass(frozen=True)
class StepReport:
    """One step: its number from 1, loss in nats per character, gradient norm before clipping."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float


def train_step(trainer: Trainer) -> StepReport:
    """Take one step along the clipped gradient of the mean loss of the next batch.

    Raises:
        DivergenceError: If loss or gradient is not finite; the trainer is then as it was before.
    """
    model, config = trainer.model, trainer.config
    device = next(model.parameters()).device
    generator = torch.get_rng_state()
    batch = trainer.batches.batch(trainer.step)
    tokens = torch.from_numpy(batch.tokens).to(device)
    targets = torch.from_numpy(batch.targets).to(device)
    state = None if batch.fresh else trainer.carried

    model.train()
    with _precision(config, device):
        logits, state = model(tokens, state)
    loss = cross_entropy(logits, targets).mean()
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    max_norm = config.max_grad_norm or float("inf")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    report = StepReport(
        step=trainer.step + 1,
        loss=loss.item(),
        grad_norm=norm.item(),
        learning_rate=learning_rate(trainer.step + 1, trainer.steps, config),
    )
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        torch.set_rng_state(generator)
        raise DivergenceError(
            f"step {report.step}: the loss is {report.loss:.4g} "
            f"and the gradient norm {report.grad_norm:.4g}"
        )
    for group in trainer.optimizer.param_groups:
        group["lr"] = report.learning_rate
    trainer.optimizer.step()
    trainer.carried = tuple(tensor.detach() for tensor in state)
    trainer.step += 1
    return report


def _precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[Any]:
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def pack(trainer: Trainer) -> dict[str, bytes]:
    """Return the trainer's own files: everything but the weights, which the model's file holds."""
    names = [name for name, _ in trainer.model.named_parameters()]
    tensors: dict[str, Tensor] = {"random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    for k, slots in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[k]}.{slot}": tensor for slot, tensor in slots.items()}
    for k, tensor in enumerate(trainer.carried or ()):
        tensors[f"carried.{k}"] = tensor
    return {
        "trainer.safetensors": safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        ),
        "trainer.json": json.dumps({"step": trainer.step}).encode(),
    }


def restore(trainer: Trainer, files: Mapping[str, bytes]) -> None:
    """Put back what pack wrote; the weights are the caller's affair.

    Raises:
        CheckpointError: If the files are not those of this trainer.
    """
    names = {name: k for k, (name, _) in enumerate(trainer.model.named_parameters())}
    device = next(trainer.model.parameters()).device
    try:
        step = json.loads(files["trainer.json"])["step"]
        tensors = safetensors.torch.load(files["trainer.safetensors"])
        slots: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in tensors if key.startswith("optimizer.")]:
            name, slot = key.removeprefix("optimizer.").rsplit(".", 1)
            slots.setdefault(names[name], {})[slot] = tensors[key]
        trainer.optimizer.load_state_dict(
            {"state": slots, "param_groups": trainer.optimizer.state_dict()["param_groups"]}
        )
        torch.set_rng_state(tensors["random.torch"])
    except (KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"the trainer's state does not fit this run: {error}") from None
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    carried = [
        tensors[f"carried.{k}"].to(device) for k in range(len(tensors)) if f"carried.{k}" in tensors
    ]
    trainer.carried = tuple(carried) or None
    trainer.step = step
