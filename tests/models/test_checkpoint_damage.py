"""Whatever happened to a checkpoint, it is loaded whole or refused with a CheckpointError."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from carousel.errors import CheckpointError
from carousel.models.checkpoint import load_model, read_checkpoint
from models.checkpoints import NAMES, bit_flips, config_with, files, save, truncations

DAMAGES = 40  # of each kind and file; each place is another

Damage = Callable[[bytes, int], Iterator[tuple[str, bytes]]]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint")


def is_refused(checkpoint: Path) -> bool:
    try:
        read_checkpoint(checkpoint)
    except CheckpointError:
        return True
    return False


def refused(checkpoint: Path) -> str:
    """Load it, which must fail, and return the message."""
    assert is_refused(checkpoint)
    with pytest.raises(CheckpointError) as caught:
        load_model(checkpoint)
    return str(caught.value)


@pytest.mark.parametrize("damage", [bit_flips, truncations])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named(checkpoint: Path, name: str, damage: Damage) -> None:
    whole = (checkpoint / name).read_bytes()
    count = 0
    for where, damaged in damage(whole, DAMAGES):
        (checkpoint / name).write_bytes(damaged)
        message = refused(checkpoint)
        # A manifest that is damaged and still one accuses the file that it is wrong about.
        culprits = NAMES if name == "manifest.json" else (name,)
        assert any(f"{checkpoint / culprit}" in message for culprit in culprits), where
        count += 1
    assert count >= min(DAMAGES, len(whole)) // 2
    (checkpoint / name).write_bytes(whole)
    load_model(checkpoint)


def test_the_manifest_has_no_bit_to_spare(checkpoint: Path) -> None:
    """It is its own witness: what still parses must still be as it was written."""
    whole = (checkpoint / "manifest.json").read_bytes()
    for where, damaged in bit_flips(whole, 8 * len(whole) // 5):
        (checkpoint / "manifest.json").write_bytes(damaged)
        assert is_refused(checkpoint), where


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    assert name in refused(checkpoint)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden"])
def test_a_surplus_file_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_bytes(b"")
    assert f"{checkpoint / name} is not in the manifest" in refused(checkpoint)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_longer_than_it_was_is_named(checkpoint: Path, name: str) -> None:
    with (checkpoint / name).open("ab") as file:
        file.write(b"\0")
    assert name in refused(checkpoint)


def test_two_files_swapped_are_named(checkpoint: Path) -> None:
    a, b = checkpoint / "config.json", checkpoint / "vocabulary.json"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    assert "config.json" in refused(checkpoint)


def test_another_format_is_refused_with_both_numbers(checkpoint: Path) -> None:
    path = checkpoint / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    assert "format 2, this version reads 1" in refused(checkpoint)


# A manifest that is right about files that are wrong: nothing is trusted because it is whole.


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff\xfe\xfd", b"[]", b"{}", b'"x"', b"null", b"[" * 100_000, b"\0" * 64],
    ids=repr,
)
def test_a_file_of_nonsense_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = save(tmp_path / "a", **{name.replace(".", "_"): content})
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


@pytest.mark.parametrize(
    "model",
    [
        {"hidden_size": 5},
        {"hidden_size": 10**12},
        {"num_layers": 10**12},
        {"hidden_size": 0},
        {"hidden_size": "4"},
        {"no_such_setting": 1},
        {"model": "unheard of"},
        {"dropout": float("nan")},
        {"tie_weights": True},
    ],
    ids=str,
)
def test_settings_that_are_not_the_models_are_refused_at_once(
    tmp_path: Path, model: dict[str, object]
) -> None:
    folder = save(tmp_path / "a", config_json=config_with(**model))
    with pytest.raises(CheckpointError, match=r"config\.json|model\.safetensors"):
        load_model(folder)


@pytest.mark.parametrize("characters", ["", "a", "cabbage, a bag\nz", "aa"])
def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path, characters: str) -> None:
    folder = save(tmp_path / "a", vocabulary_json=json.dumps(sorted(characters)).encode())
    with pytest.raises(CheckpointError, match=r"vocabulary\.json|model\.safetensors"):
        load_model(folder)


def shape(weights: dict[str, Tensor]) -> None:
    weights["output.weight"] = weights["output.weight"].T.contiguous()


def dtype(weights: dict[str, Tensor]) -> None:
    weights["output.bias"] = weights["output.bias"].double()


def missing(weights: dict[str, Tensor]) -> None:
    del weights["output.bias"]


def extra(weights: dict[str, Tensor]) -> None:
    weights["another"] = torch.zeros(1)


def name(weights: dict[str, Tensor]) -> None:
    weights["output.shift"] = weights.pop("output.bias")


@pytest.mark.parametrize("change", [shape, dtype, missing, extra, name])
def test_weights_of_another_model_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    weights = safetensors.torch.load(files()["model.safetensors"])
    change(weights)
    folder = save(tmp_path / "a", model_safetensors=safetensors.torch.save(weights))
    with pytest.raises(CheckpointError, match=r"a/model\.safetensors"):
        load_model(folder)


def tensor_file(header: Mapping[str, object], data: bytes) -> bytes:
    """A safetensors file whose header says whatever it is told to say."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        tensor_file({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 4),
        tensor_file({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b""),
        tensor_file({"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        (1 << 62).to_bytes(8, "little"),
    ],
    ids=["too short", "huge", "unknown type", "huge header"],
)
def test_a_tensor_file_that_lies_is_named(tmp_path: Path, content: bytes) -> None:
    folder = save(tmp_path / "a", model_safetensors=content)
    with pytest.raises(CheckpointError, match=r"a/model\.safetensors"):
        load_model(folder)
