"""Checkpoints of a small model, and every way of damaging one."""

import json
from collections.abc import Iterator
from pathlib import Path

from carousel.models.checkpoint import model_files, write_checkpoint
from carousel.models.config import ModelConfig
from models.small_models import random_model, vocabulary

SIZES = {"embedding_size": 3, "hidden_size": 4, "num_layers": 1}
NAMES = ("config.json", "manifest.json", "model.safetensors", "note.txt", "vocabulary.json")


def files(seed: int = 0, **settings: object) -> dict[str, bytes]:
    """What a checkpoint holds; another seed gives other weights in files of the same names."""
    config = ModelConfig(**{**SIZES, **settings})
    model = random_model(config, len(vocabulary())).float()
    for parameter in model.parameters():
        parameter.data += seed
    table = {"model": {**SIZES, **settings}, "seed": seed}
    return model_files(model, vocabulary(), table) | {"note.txt": b"kept as it is"}


def save(folder: Path, **changed: bytes | None) -> Path:
    """Write a checkpoint whose manifest is right, with some files changed or left out (None)."""
    content = files() | {name.replace("_", "."): data for name, data in changed.items()}
    write_checkpoint(folder, {name: data for name, data in content.items() if data is not None})
    return folder


def bit_flips(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield copies with one bit flipped, at `count` places from the first byte to the last."""
    bits = 8 * len(data)
    for place in sorted({round(k * (bits - 1) / max(1, count - 1)) for k in range(count)}):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        yield f"bit {place} of {bits}", bytes(flipped)


def truncations(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield beginnings of the data, from nothing to all but the last byte."""
    for length in sorted({round(k * (len(data) - 1) / max(1, count - 1)) for k in range(count)}):
        yield f"{length} of {len(data)} bytes", data[:length]


def config_with(**model: object) -> bytes:
    """config.json with other [model] settings."""
    table = json.loads(files()["config.json"])
    return json.dumps(table | {"model": table["model"] | model}).encode()
