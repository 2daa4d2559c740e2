"""Training runs so small that they can be stopped, killed and resumed hundreds of times."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carousel.data.vocabulary import Vocabulary
from carousel.models.checkpoint import load_model
from carousel.training.config import RunConfig, run_config
from carousel.training.fit import Event, Progress, Session, fit
from carousel.training.resume import resume
from carousel.training.run_folder import RunFolder
from carousel.training.setup import config_table, new_trainer, resolve
from carousel.training.trainer import StepReport, Trainer

TEXT = (
    "the king sang to the queen, and the queen sang to the frog; the frog, who knew the song, "
    "sang it to the well. so the well sang, and nobody in the land slept that night.\n"
) * 6
VOCABULARY = Vocabulary.from_text(TEXT)
IDS = VOCABULARY.encode(TEXT)
TRAIN, VALIDATION = IDS[:400], IDS[800:]  # 19 batches of 3 · 7 characters are an epoch
# Half noise: with a learning rate of 0.03 a model does better on it for 8 steps, then worse.
NOISY = np.concatenate(
    [VALIDATION[:100], np.random.default_rng(0).integers(len(VOCABULARY), size=100)]
).astype(IDS.dtype)
CORPUS = {"name": "song", "sha256": "0" * 64}

BASE: dict[str, dict[str, Any]] = {
    "model": {"embedding_size": 5, "hidden_size": 8, "num_layers": 2, "dropout": 0.2},
    "training": {
        "sequence_length": 7,
        "batch_size": 3,
        "batching": "lanes",
        "steps": 24,
        "learning_rate": 1e-2,
        "warmup_steps": 3,
        "eval_every": 6,
        "save_every": 4,
        "patience": 0,
        "seed": 11,
    },
}


# Of the families without recurrence: seven positions are a window, and five or three are not.
ATTENTION = {"model": "transformer", "embedding_size": 8, "num_heads": 2, "context_length": 5}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp": ({"model": "mlp", "context_length": 3}, {}),
    "mlp without a past": ({"model": "mlp", "context_length": 1}, {}),
    "transformer": (ATTENTION, {}),
    "learned positions": (
        {**ATTENTION, "context_length": 7, "positions": "learned"},
        {"batching": "windows"},
    ),
}


def settings(model: dict[str, Any] | None = None, **training: Any) -> RunConfig:
    """The settings above with some changed."""
    changes = {"model": model or {}, "training": training}
    return run_config(("base", BASE), ("changes", changes))


@dataclasses.dataclass
class SmallRun:
    """A run opened, fresh or where its folder left off."""

    trainer: Trainer
    session: Session
    progress: Progress
    faults: list[str]

    def events(self) -> list[Event]:
        """Go on to the end."""
        try:
            return list(fit(self.trainer, self.session, self.progress))
        finally:
            self.session.folder.close()

    def losses(self) -> list[float]:
        return [event.loss for event in self.events() if isinstance(event, StepReport)]


def open_run(
    path: Path,
    given: RunConfig,
    *,
    stop: Callable[[Trainer], bool] = lambda trainer: False,
    time_is_up: Callable[[Trainer], bool] = lambda trainer: False,
    validation: np.ndarray = VALIDATION,
) -> SmallRun:
    """Do what the command does, without a terminal: resume what is there, else begin."""
    folder = RunFolder(path)
    folder.prepare()
    resumed = resume(folder, given, corpus=CORPUS["sha256"], ids=TRAIN, device="cpu")
    if resumed:
        trainer, progress, resolved = resumed.trainer, resumed.progress, resumed.settings
        faults = resumed.faults
    else:
        folder.clear()
        progress, resolved, faults = Progress(), resolve(given, len(TRAIN)), []
        trainer = new_trainer(resolved, len(VOCABULARY), TRAIN, "cpu")
    session = Session(
        folder=folder,
        vocabulary=VOCABULARY,
        config=config_table(given, resolved, CORPUS),
        validation=validation,
        eval_every=resolved.training.eval_every or 1,
        save_every=resolved.training.save_every or 1,
        stop=lambda: stop(trainer),
        time_is_up=lambda: time_is_up(trainer),
    )
    return SmallRun(trainer, session, progress, faults)


def whole_state(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of everything that the next step depends on, by name."""
    state = {f"weight.{name}": p for name, p in trainer.model.named_parameters()}
    for k, slots in enumerate(trainer.optimizers.state.values()):
        state |= {f"optimizer.{k}.{slot}": tensor for slot, tensor in slots.items()}
    state |= {f"carried.{k}": tensor for k, tensor in enumerate(trainer.state or ())}
    state |= {"random": torch.get_rng_state(), "step": torch.tensor(trainer.step)}
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def assert_same_bits(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert torch.equal(got[name], tensor), f"{name} differs"


def best_weights(path: Path) -> dict[str, Tensor]:
    """The parameters that a user of the finished run gets."""
    return {name: p.detach() for name, p in load_model(path).model.named_parameters()}
