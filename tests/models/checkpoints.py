"""Checkpoints of a small model, and every way of damaging one."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

from carousel.models.checkpoint import MANIFEST, model_files, to_json, write_checkpoint
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


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Change a file of a checkpoint, and the manifest so that it is right about it."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / MANIFEST).write_bytes(to_json(manifest))


def random_damage(data: bytes, draw: random.Random) -> bytes:
    """Flip bits, cut off the end, or blank, drop, double or swap some bytes in the middle."""
    data, a, b = bytearray(data), *sorted(draw.sample(range(len(data) + 1), 2))
    b = min(b, a + draw.choice([1, 4, 64, len(data)]))
    kind = draw.choice(["flip", "flip", "flip", "cut", "blank", "drop", "double", "swap", "noise"])
    if kind == "flip":
        for _ in range(draw.choice([1, 1, 2, 8])):
            # Half of them where the structure is: at the beginning.
            place = draw.randrange(draw.choice([len(data), min(len(data), 600)]))
            data[place] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[a:]
    elif kind == "blank":
        data[a:b] = bytes(b - a)
    elif kind == "drop":
        del data[a:b]
    elif kind == "double":
        data[a:a] = data[a:b]
    elif kind == "swap":
        data[a:b] = reversed(data[a:b])
    else:
        data[a:b] = draw.randbytes(b - a)
    return bytes(data)


def tensor_file(header: object, data: bytes) -> bytes:
    """A safetensors file whose header says whatever it is told to say; a str as it stands."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


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
