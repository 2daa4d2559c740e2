"""A trained model on disk: one folder, complete or absent, every byte of it accounted for.

config.json, vocabulary.json, model.safetensors, what else its writer adds, and manifest.json with
the size and SHA-256 of each. The folder appears by one rename; no pickle is written or read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from carousel._version import __version__
from carousel.data.vocabulary import Vocabulary
from carousel.errors import CheckpointError, UnreadableError, shorten
from carousel.input_files import (
    POINTER_LIMIT,
    read_regular,
)
from carousel.models.base import LanguageModel
from carousel.models.checkpoint_files import FORMAT, MODEL_FILES, blame
from carousel.models.checkpoint_files import MANIFEST as MANIFEST
from carousel.models.checkpoint_files import foreign_names as foreign_names
from carousel.models.checkpoint_files import has_manifest as has_manifest
from carousel.models.checkpoint_files import read_checkpoint as read_checkpoint
from carousel.models.checkpoint_files import to_json as to_json
from carousel.models.checkpoint_files import write_checkpoint as write_checkpoint
from carousel.models.config import model_config
from carousel.models.language_model import build
from carousel.models.pretrained import by_name
from carousel.models.size import size_of
from carousel.models.tensor_file import Entry, check_like, read_header, read_tensors

_POINTERS = {"best", "last"}  # files of a run, each with the name of a checkpoint


class TrainedModel(NamedTuple):
    """A model ready to use, its alphabet, and what config.json says of both."""

    model: LanguageModel
    vocabulary: Vocabulary
    config: dict[str, Any]
    folder: Path


def model_files(
    model: nn.Module, vocabulary: Vocabulary, config: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the files that make a model: config.json, vocabulary.json, model.safetensors."""
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    return {
        "config.json": to_json({"format": FORMAT, "carousel": __version__, **config}),
        "vocabulary.json": vocabulary.to_json().encode(),
        "model.safetensors": safetensors.torch.save(weights),
    }


def load_model(path: Path | str, *, device: str = "cpu") -> TrainedModel:
    """Load a model, ready for evaluation.

    Args:
        path: A run folder, whose best checkpoint is taken, or a checkpoint folder; or the name of
            a model that ships.
        device: Where to.

    Raises:
        CheckpointError: If there is none, or it is damaged; the message names the file.
    """
    path = by_name(Path(path))
    while True:
        folder = resolve(path)
        try:
            return unpack(read_checkpoint(folder, MODEL_FILES), folder, device=device)
        except CheckpointError:
            if resolve(path) == folder:  # else a training run moved on meanwhile: follow it
                raise


def resolve(path: Path, pointer: str = "best") -> Path:
    """Return the checkpoint folder a path means: itself, or what a run's pointer file names.

    The pointer file itself may be named, too: runs/tales/last.
    """
    if path.name in _POINTERS and path.is_file():
        path, pointer = path.parent, path.name
    if (path / MANIFEST).is_file():
        return path
    if (path / pointer).is_file():
        name = _read_pointer(path / pointer)
        if not name.isdecimal():
            raise CheckpointError(f"{path / pointer} is damaged: it names no checkpoint")
        return path / "checkpoints" / name
    if not path.exists():
        raise CheckpointError(f"no such run or checkpoint: {path}")
    raise CheckpointError(f"{path} is no run with a checkpoint: it has no {MANIFEST} or {pointer}")


def _read_pointer(path: Path) -> str:
    try:
        return read_regular(path, POINTER_LIMIT).decode("ascii", errors="replace").strip()
    except UnreadableError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def unpack(files: Mapping[str, bytes], folder: Path, *, device: str = "cpu") -> TrainedModel:
    """Build the model that a checkpoint's files describe; torch's generators are not touched.

    Raises:
        CheckpointError: If the files do not fit one another; the message names one.
    """
    with blame(folder / "config.json"):
        config = json.loads(files["config.json"])
        settings = model_config(config["model"])
    with blame(folder / "vocabulary.json"):
        vocabulary = Vocabulary.from_json(files["vocabulary.json"].decode())
    with blame(folder / "model.safetensors"):
        entries = read_header(files["model.safetensors"])
        stored = {name: _widened(entry) for name, entry in entries.items()}
        found = sum(math.prod(entry.shape) for entry in entries.values())
        needed = size_of(settings, len(vocabulary))
        if found != needed.numbers:  # before a model of absurd size is built
            raise CheckpointError(f"{found:,} numbers, the model has {needed.numbers:,}")
        if len(stored) != needed.tensors:
            raise CheckpointError(f"{len(stored):,} tensors, the model has {needed.tensors:,}")
        with torch.device("meta"):
            model = build(settings, len(vocabulary))
        _check_weights(model, stored)  # before memory is taken
        weights = read_tensors(files["model.safetensors"], entries)
        model.load_state_dict(
            {name: w.to(stored[name].dtype) for name, w in weights.items()}, assign=True
        )
        model.to(device)
    return TrainedModel(model.eval(), vocabulary, config, folder)


def _widened(entry: Entry) -> Entry:
    """Return what a tensor becomes when it is loaded: bf16, half the bytes, holds float32s too."""
    is_narrow = entry.dtype == torch.bfloat16
    return entry._replace(dtype=torch.float32) if is_narrow else entry


@torch.no_grad()
def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model: the same names, shapes and types, or a CheckpointError."""
    _check_weights(model, weights)
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def _check_weights(model: nn.Module, weights: Mapping[str, Entry] | Mapping[str, Tensor]) -> None:
    """Refuse weights of other names, shapes or types than the model's."""
    own = dict(model.named_parameters())
    if different := sorted(set(own) ^ set(weights)):
        raise CheckpointError(f"weights missing or unknown: {shorten(', '.join(different))}")
    for name, parameter in own.items():
        check_like(weights[name], parameter, name, "the model")
