"""A trainer's state that was changed under a right manifest is refused, or it is a state."""

import json
import random
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from budgets import amount, torture
from carousel.errors import CheckpointError, DivergenceError
from carousel.training.run_folder import RunFolder
from carousel.training.trainer import Trainer, restore, state_files, train_step
from models.checkpoints import random_damage, rewrite
from training.small_runs import open_run, settings

DAMAGES = amount(50, 1_500)  # of each file and batching
NAMES = ("trainer.json", "trainer.safetensors")


def trained(path: Path, batching: str) -> Trainer:
    run = open_run(path, settings(batching=batching, steps=3))
    run.events()
    return run.trainer


@torture
@pytest.mark.parametrize("batching", ["lanes", "windows"])
@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_was_changed_is_refused_or_can_go_on(
    tmp_path: Path, name: str, batching: str
) -> None:
    t, draw, refusals = trained(tmp_path, batching), random.Random(name + batching), 0
    files = state_files(t)
    for _ in range(DAMAGES):
        damaged = files | {name: random_damage(files[name], draw)}
        try:
            restore(t, damaged)
            train_step(t)
        except DivergenceError:
            continue
        except CheckpointError as error:
            message = str(error)
            refusals += 1
            assert message.startswith(NAMES)
    assert refusals > DAMAGES // 4
    restore(t, files)


@pytest.mark.parametrize(
    "step", [-1, 4, 3.0, "3", None, True, [3], float("nan"), float("inf"), 1 << 70]
)
def test_a_step_that_is_none_is_refused(tmp_path: Path, step: object) -> None:
    t = trained(tmp_path, "lanes")
    with pytest.raises(CheckpointError, match=r"^trainer\.(json|safetensors) does not fit"):
        restore(t, state_files(t) | {"trainer.json": json.dumps({"step": step}).encode()})


@pytest.mark.parametrize("tensor", [torch.zeros(()), torch.zeros(3, dtype=torch.int32)])
@pytest.mark.parametrize("slot", ["step", "exp_avg", "exp_avg_sq"])
def test_a_slot_that_is_none_is_refused(tmp_path: Path, slot: str, tensor: Tensor) -> None:
    """A single number would fit where every number of a parameter needs its own, by broadcast."""
    t = trained(tmp_path, "lanes")
    files = state_files(t)
    tensors = safetensors.torch.load(files["trainer.safetensors"])
    tensors[f"optimizer.output.bias.{slot}"] = tensor
    with pytest.raises(CheckpointError, match=r"trainer\.safetensors does not fit .*output\.bias"):
        restore(t, files | {"trainer.safetensors": safetensors.torch.save(tensors)})


def test_tensors_restored_lie_where_torch_would_put_them(tmp_path: Path) -> None:
    """Products of what lies elsewhere may be summed in another order, and other bits come out."""
    t = trained(tmp_path, "lanes")
    restore(t, state_files(t))
    slots = [s for state in t.optimizers.state.values() for s in state.values()]
    for tensor in [*(t.state or ()), *slots]:
        assert tensor.data_ptr() % 64 == torch.empty(tensor.shape).data_ptr() % 64 == 0


def test_a_run_with_such_a_state_cannot_be_resumed(tmp_path: Path) -> None:
    trained(tmp_path, "lanes")
    folder = RunFolder(tmp_path)
    rewrite(folder.checkpoints / f"{folder.saved_steps()[-1]:08d}", "trainer.json", b"{}")
    with pytest.raises(CheckpointError, match=r"trainer\.json"):
        open_run(tmp_path, settings(steps=3))
