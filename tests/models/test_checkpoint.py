"""A checkpoint: what goes in comes out, it appears at once or not at all."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from carousel.errors import CheckpointError
from carousel.models.checkpoint import (
    load_model,
    model_files,
    read_checkpoint,
    resolve,
    write_checkpoint,
)
from carousel.models.config import ModelConfig
from models.checkpoints import NAMES, SIZES, files, save
from models.small_models import TEXT, random_model, vocabulary

# Round trip.


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", files())
    assert read_checkpoint(tmp_path / "a") == files()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_layers": 2, "dropout": 0.2},
        {"hidden_size": 3, "tie_weights": True},
        {"model": "mlp", "num_layers": 2, "context_length": 1},
        {"model": "transformer", "embedding_size": 8, "num_layers": 2, "tie_weights": True},
        {
            **{"model": "transformer", "num_heads": 1, "initialization": "torch"},
            **{"positions": "learned", "context_length": 15},
        },
    ],
)
def test_a_model_comes_back_bit_for_bit(tmp_path: Path, settings: dict[str, object]) -> None:
    write_checkpoint(tmp_path / "a", files(**settings))
    loaded = load_model(tmp_path / "a")
    config = ModelConfig(**{"embedding_size": 3, "hidden_size": 4, **settings})
    original = random_model(config, len(vocabulary())).float()
    assert loaded.vocabulary == vocabulary()
    assert not loaded.model.training
    assert loaded.model.config == config
    assert loaded.model.state_dict().keys() == original.state_dict().keys()
    for name, weight in original.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight), name
    ids = torch.from_numpy(vocabulary().encode(TEXT).astype("int64"))[None]
    assert torch.equal(loaded.model(ids)[0], original(ids)[0])


def test_weights_stored_in_bf16_come_back_as_the_float32_they_are(tmp_path: Path) -> None:
    model = random_model(ModelConfig(**SIZES), len(vocabulary())).bfloat16()
    write_checkpoint(tmp_path / "a", model_files(model, vocabulary(), {"model": SIZES}))
    loaded = load_model(tmp_path / "a").model.state_dict()
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded[name], weight.float()), name


def test_the_same_model_makes_the_same_bytes() -> None:
    assert files() == files()


def test_loading_draws_no_random_number(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    load_model(save(tmp_path / "a"))
    assert torch.equal(torch.get_rng_state(), before)


# Which checkpoint a path means.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    for step in ("00000005", "00000010"):
        write_checkpoint(tmp_path / "checkpoints" / step, files(int(step)))
    (tmp_path / "best").write_text("00000005\n")
    (tmp_path / "last").write_text("00000010\n")
    return tmp_path


def test_a_run_means_its_best_checkpoint(run: Path) -> None:
    assert load_model(run).config["seed"] == 5
    assert load_model(run / "checkpoints" / "00000010").config["seed"] == 10
    assert resolve(run, "last").name == "00000010"


def test_a_pointer_can_be_named_itself(run: Path) -> None:
    assert load_model(run / "best").config["seed"] == 5
    assert load_model(run / "last").config["seed"] == 10
    assert resolve(run / "last", "best").name == "00000010"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"../..\n", b"0000000\x005\n"])
def test_a_damaged_pointer_is_named(run: Path, content: bytes) -> None:
    (run / "best").write_bytes(content)
    with pytest.raises(CheckpointError, match="best is damaged: it names no checkpoint"):
        load_model(run)


def test_a_pointer_to_nowhere_is_named(run: Path) -> None:
    (run / "best").write_bytes(b"00000007\n")
    with pytest.raises(CheckpointError, match="00000007 is no checkpoint"):
        load_model(run)


def test_no_run_and_no_checkpoint_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such run or checkpoint: .*nowhere"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointError, match=r"is no run with a checkpoint: it has no manifest\.json or best"
    ):
        load_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file is no run with a checkpoint"):
        load_model(tmp_path / "file")
    with pytest.raises(CheckpointError, match="file is no checkpoint"):
        read_checkpoint(tmp_path / "file")


# At once or not at all.


@pytest.mark.parametrize("step", ["mkdir", "fsync", "rename"])
def test_a_failing_write_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Let each call of a step fail in turn, until one is left in which none does."""
    for number in range(50):
        folder, failing = tmp_path / f"{number}", FailingOnce(getattr(os, step), number)
        with monkeypatch.context() as patch, suppress(OSError):
            patch.setattr(os, step, failing)
            write_checkpoint(folder, files())
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        if folder.exists():  # after the rename only the fsync of the folder above can fail
            assert read_checkpoint(folder) == files()
        if not failing.failed:
            assert number > 0, f"os.{step} is not called at all"
            return
        assert not folder.exists() or step == "fsync"
    pytest.fail("more calls than a checkpoint has files")


class FailingOnce:
    """Stands for a function of os whose call of this number finds the disk full."""

    def __init__(self, real: Callable[..., object], number: int) -> None:
        self.real, self.number, self.calls = real, number, 0

    @property
    def failed(self) -> bool:
        return self.calls > self.number

    def __call__(self, *arguments: object, **settings: object) -> object:
        self.calls += 1
        if self.calls == self.number + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real(*arguments, **settings)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", files(1))
    with pytest.raises(FileExistsError):
        write_checkpoint(tmp_path / "a", files(2))
    assert read_checkpoint(tmp_path / "a") == files(1)
