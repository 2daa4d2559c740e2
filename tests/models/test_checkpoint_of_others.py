"""Checkpoints that somebody made to harm: refused in one line, before time or memory is spent."""

import json
import os
import time
from pathlib import Path

import pytest

from carousel.errors import CheckpointError
from carousel.models import checkpoint as checkpoint_module
from carousel.models import checkpoint_files
from carousel.models import size as size_module
from carousel.models.checkpoint import MANIFEST, foreign_names, has_manifest, load_model
from carousel.models.config import model_config
from models.checkpoints import NAMES, SIZES, config_with, files, rewrite, save, tensor_file

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
SECONDS = 20  # that a refusal takes at most; each of these took minutes, or had no end


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint")


def refused(checkpoint: Path) -> str:
    """Load it, which must fail at once, and return the message: one short line."""
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load_model(checkpoint)
    assert time.monotonic() - start < SECONDS
    message = str(caught.value)
    assert len(message) < len(str(checkpoint)) + 500
    assert "\n" not in message
    return message


@posix
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link to a pipe"])
def test_what_is_no_regular_file_is_refused_unread(
    checkpoint: Path, name: str, kind: str, tmp_path: Path
) -> None:
    (checkpoint / name).unlink()
    if kind == "pipe":
        os.mkfifo(checkpoint / name)
    else:
        os.mkfifo(tmp_path / "pipe")
        target = tmp_path / "pipe" if kind == "link to a pipe" else Path("/dev/zero")
        (checkpoint / name).symlink_to(target)
    message = refused(checkpoint)
    assert name in message
    assert "regular file" in message or "has no manifest" in message
    if name == MANIFEST:
        assert not has_manifest(checkpoint)
        assert MANIFEST in foreign_names(checkpoint)  # so it is not removed either


@posix
def test_links_to_regular_files_are_read(checkpoint: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (checkpoint / name).rename(tmp_path / name)
        (checkpoint / name).symlink_to(tmp_path / name)
    assert load_model(checkpoint).folder == checkpoint


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "manifest.json"])
def test_a_file_larger_than_any_sound_one_is_not_read(checkpoint: Path, name: str) -> None:
    """Sparse, so that it takes no room here; its manifest is right about the size."""
    size = 1 << 33
    with (checkpoint / name).open("r+b") as file:
        file.truncate(size)
    manifest = json.loads(files_of(checkpoint)) if name != MANIFEST else None
    if manifest:
        manifest["files"][name]["bytes"] = size
        (checkpoint / MANIFEST).write_bytes(checkpoint_module.to_json(manifest))
    message = refused(checkpoint)
    assert "at most" in message or "the most that is read" in message


def files_of(checkpoint: Path) -> bytes:
    return (checkpoint / MANIFEST).read_bytes()


def test_weights_larger_than_the_memory_are_not_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_files, "available_memory", lambda: 100)
    assert "bytes, and may have 100 at most" in refused(checkpoint)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_layers", 100_000),
        ("num_layers", 10**4000),
        ("hidden_size", 1 << 40),
        ("embedding_size", 10**300),
        ("context_length", 1 << 40),
        ("longest_memory", 10**400),
        ("forget_bias", 10**400),
        ("num_heads", 10**400),
        ("proj_size", 10**400),
        ("dropout", float("nan")),
    ],
)
def test_dimensions_are_bounded_before_anything_is_built(
    checkpoint: Path, setting: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "build", lambda *_: pytest.fail("it was built"))
    model = {"model": "mlp" if setting == "context_length" else "lstm", setting: value}
    rewrite(checkpoint, "config.json", config_with(**model))
    assert f"config.json does not fit this program or its checkpoint: {setting}" in refused(
        checkpoint
    )


def test_the_names_are_counted_before_a_deep_model_is_built(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many numbers as a model of 900 layers has, in one tensor."""
    built = []
    real = size_module.build
    monkeypatch.setattr(
        size_module,
        "build",
        lambda settings, size: built.append(settings.num_layers) or real(settings, size),
    )
    rewrite(checkpoint, "config.json", config_with(num_layers=900))
    table = {**SIZES, "num_layers": 900}
    vocabulary = json.loads((checkpoint / "vocabulary.json").read_bytes())
    count = size_module.num_parameters(model_config(table), len(vocabulary))
    built.clear()
    header = {"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    rewrite(checkpoint, "model.safetensors", tensor_file(header, bytes(4 * count)))
    assert "1 tensors, the model has 3,60" in refused(checkpoint)
    assert max(built) == 2


def test_a_header_of_long_numbers_is_refused_before_they_are_multiplied(checkpoint: Path) -> None:
    shape = f"[{','.join(['9' * 4000] * 2000)}]"
    header = f'{{"w": {{"dtype": "F32", "shape": {shape}, "data_offsets": [0, 0]}}}}'
    rewrite(checkpoint, "model.safetensors", tensor_file(header, b""))
    assert "its header is damaged" in refused(checkpoint)


@pytest.mark.parametrize("shape", [[1] * 9, [1 << 61, 0], [0, 10**300]])
def test_no_tensor_has_such_a_shape(checkpoint: Path, shape: list[int]) -> None:
    header = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    rewrite(checkpoint, "model.safetensors", tensor_file(header, b""))
    assert "its header is damaged" in refused(checkpoint)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", config_with(**{"x" * 1_000_000: 1})),
        ("config.json", config_with(model="x" * 1_000_000)),
        ("config.json", config_with(dropout="x" * 1_000_000)),
        ("config.json", config_with(hidden_size=["x"] * 100_000)),
        ("vocabulary.json", json.dumps(["a", "x" * 1_000_000]).encode()),
    ],
)
def test_messages_quote_no_more_than_300_characters(
    checkpoint: Path, name: str, data: bytes
) -> None:
    rewrite(checkpoint, name, data)
    refused(checkpoint)


def test_names_of_weights_are_quoted_in_short(checkpoint: Path) -> None:
    header_end = 8 + int.from_bytes(files()["model.safetensors"][:8], "little")
    header = json.loads(files()["model.safetensors"][8:header_end])
    header["y" * 1_000_000] = header.pop("output.bias")
    data = tensor_file(header, files()["model.safetensors"][header_end:])
    rewrite(checkpoint, "model.safetensors", data)
    assert "weights missing or unknown: output.bias, yyy" in refused(checkpoint)
