"""Whatever happened to a checkpoint, it is loaded whole or refused with a CheckpointError."""

import errno
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import Tensor

from budgets import amount, torture
from carousel import input_files
from carousel.errors import CheckpointError
from carousel.models.checkpoint import load_model, read_checkpoint
from models.checkpoints import (
    NAMES,
    bit_flips,
    config_with,
    files,
    random_damage,
    rewrite,
    save,
    tensor_file,
    truncations,
)

DAMAGES = amount(20, 1_000)  # of each kind and file; each place is another
CONTENT_DAMAGES = amount(50, 2_500)  # of each file, with a manifest that is right about them
SECONDS = 1.0  # that one may take

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


@torture
@pytest.mark.parametrize("damage", [bit_flips, truncations])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named(checkpoint: Path, name: str, damage: Damage) -> None:
    whole = (checkpoint / name).read_bytes()
    count = 0
    for where, damaged in damage(whole, DAMAGES):
        (checkpoint / name).write_bytes(damaged)
        begin = time.monotonic()
        message = refused(checkpoint)
        assert time.monotonic() - begin < SECONDS
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
    path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 3'))
    assert "format 3, this version reads 2" in refused(checkpoint)


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


@torture
@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_content_that_was_changed_is_refused_or_is_a_model(tmp_path: Path, name: str) -> None:
    """The manifest is right about it, and what it says may be possible: then it loads."""
    folder, draw, refusals = save(tmp_path / "a"), random.Random(name), 0
    whole = (folder / name).read_bytes()
    for _ in range(CONTENT_DAMAGES):
        damaged = random_damage(whole, draw)
        rewrite(folder, name, damaged)
        begin, message = time.monotonic(), None
        try:
            load_model(folder)
        except CheckpointError as error:
            message = str(error)
        assert time.monotonic() - begin < SECONDS, damaged
        refusals += message is not None
        assert message is None or re.search(rf"{folder}/(config|vocabulary|model)\.", message)
    assert refusals > CONTENT_DAMAGES // 4
    rewrite(folder, name, whole)
    load_model(folder)


def shape(weights: dict[str, Tensor]) -> None:
    weights["output.weight"] = weights["output.weight"].T.contiguous()


def dtype(weights: dict[str, Tensor]) -> None:
    weights["output.bias"] = weights["output.bias"].double()


def half(weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        weights[name] = weight.half()


def swapped(weights: dict[str, Tensor]) -> None:
    a, b = "output.weight", "embedding.weight"
    weights[a], weights[b] = weights[b], weights[a]


def missing(weights: dict[str, Tensor]) -> None:
    del weights["output.bias"]


def extra(weights: dict[str, Tensor]) -> None:
    weights["another"] = torch.zeros(1)


def name(weights: dict[str, Tensor]) -> None:
    weights["output.shift"] = weights.pop("output.bias")


@pytest.mark.parametrize("change", [shape, dtype, half, swapped, missing, extra, name])
def test_weights_of_another_model_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    weights = safetensors.torch.load(files()["model.safetensors"])
    change(weights)
    folder = save(tmp_path / "a", model_safetensors=safetensors.torch.save(weights))
    with pytest.raises(CheckpointError, match=r"a/model\.safetensors"):
        load_model(folder)


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


def test_a_tensor_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    """The safetensors library takes the last of them without a word."""
    data = files()["model.safetensors"]
    begin = 8 + int.from_bytes(data[:8], "little")
    header = data[8:begin].decode().rstrip()
    name, row = next(iter(json.loads(header).items()))
    double = tensor_file(f'{{"{name}":{json.dumps(row)},{header[1:]}', data[begin:])
    assert safetensors.torch.load(double).keys() == safetensors.torch.load(data).keys()
    folder = save(tmp_path / "a", model_safetensors=double)
    with pytest.raises(CheckpointError, match=r"a/model\.safetensors .*header is damaged"):
        load_model(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(checkpoint: Path) -> None:
    rewrite(checkpoint, "../outside.bin", b"elsewhere")
    assert "outside.bin is missing" in refused(checkpoint)


def test_a_folder_in_the_place_of_a_file_is_refused(checkpoint: Path) -> None:
    (checkpoint / "note.txt").unlink()
    (checkpoint / "note.txt").mkdir()
    assert "note.txt is " in refused(checkpoint)


def test_a_disk_that_cannot_read_is_a_damage(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, flags: int) -> int:
        if path.name == broken:
            raise OSError(number, os.strerror(number), str(path))
        return os.open(path, flags)

    monkeypatch.setattr(input_files, "os", SimpleNamespace(**vars(os) | {"open": fail}))
    for name in NAMES:
        broken, number = name, errno.EIO
        assert f"{checkpoint / name} is damaged: {os.strerror(number)}" in refused(checkpoint)
        number = errno.EACCES  # may pass, or be mended: not the checkpoint's fault
        with pytest.raises(PermissionError):
            read_checkpoint(checkpoint)
