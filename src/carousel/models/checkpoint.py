"""A trained model on disk: one folder, complete or absent, every byte of it accounted for.

config.json, vocabulary.json, model.safetensors, what else its writer adds, and manifest.json with
the size and SHA-256 of each. The folder appears by one rename; no pickle is written or read.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from carousel._version import __version__
from carousel.errors import CarouselError, CheckpointError
from carousel.files import publish_folder
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.recurrent import build
from carousel.tables import from_table
from carousel.text.vocabulary import Vocabulary

FORMAT = 1
MANIFEST = "manifest.json"


class TrainedModel(NamedTuple):
    """A model ready to use, its alphabet, and what config.json says of both."""

    model: LanguageModel
    vocabulary: Vocabulary
    config: dict[str, Any]
    folder: Path


def to_json(table: Any) -> bytes:
    """Return readable JSON, the same bytes for the same table."""
    return (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode()


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


def write_checkpoint(folder: Path, files: Mapping[str, bytes]) -> None:
    """Publish the files and their manifest as a new folder, durably and in one step."""
    manifest = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    publish_folder(folder, {**files, MANIFEST: to_json({"format": FORMAT, "files": manifest})})


def read_checkpoint(folder: Path) -> dict[str, bytes]:
    """Return every file of a checkpoint, each found whole and unchanged.

    Raises:
        CheckpointError: If the folder is none, or a file is missing, damaged or too many.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"{folder / MANIFEST}: format {manifest['format']}, this version reads {FORMAT}"
            )
        expected = {name: (row["bytes"], row["sha256"]) for name, row in manifest["files"].items()}
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is damaged: {error}") from None
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if surplus := sorted(present - set(expected)):
        raise CheckpointError(f"{folder / surplus[0]} is not in the manifest")
    return {name: _read(folder / name, *row) for name, row in expected.items()}


def _read(path: Path, size: int, sha256: str) -> bytes:
    """Read one file and hold it against its manifest entry, the size first."""
    try:
        if (found := path.stat().st_size) != size:
            raise CheckpointError(f"{path} is damaged: {found} bytes instead of {size}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")
    return data


def load_model(path: Path, *, device: str = "cpu") -> TrainedModel:
    """Load a checkpoint folder, or the best checkpoint of a run folder, ready for evaluation.

    Raises:
        CheckpointError: If there is none, or it is damaged; the message names the file.
    """
    for attempt in range(3):
        folder = resolve(path)
        try:
            files = read_checkpoint(folder)
            break
        except CheckpointError:
            # A training run may have moved on between the pointer and the files: look again.
            if attempt == 2 or resolve(path) == folder:
                raise
    return unpack(files, folder, device=device)


def resolve(path: Path, pointer: str = "best") -> Path:
    """Return the checkpoint folder a path means: itself, or what a run's pointer file names."""
    if (path / MANIFEST).is_file():
        return path
    if (path / pointer).is_file():
        name = (path / pointer).read_text().strip()
        return path / "checkpoints" / Path(name).name
    if not path.exists():
        raise CheckpointError(f"no such run or checkpoint: {path}")
    raise CheckpointError(f"{path} holds no checkpoint yet: neither {MANIFEST} nor {pointer}")


def unpack(files: Mapping[str, bytes], folder: Path, *, device: str = "cpu") -> TrainedModel:
    """Build the model that a checkpoint's files describe.

    Raises:
        CheckpointError: If the files do not fit one another.
    """
    try:
        config = json.loads(files["config.json"])
        vocabulary = Vocabulary.from_json(files["vocabulary.json"].decode())
        model = build(from_table(ModelConfig, config["model"]), len(vocabulary))
        load_weights(model, safetensors.torch.load(files["model.safetensors"]))
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks {error}") from None
    except (CarouselError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} does not fit together: {error}") from None
    return TrainedModel(model.to(device).eval(), vocabulary, config, folder)


@torch.no_grad()
def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model: the same names, shapes and types, or a CheckpointError."""
    own = dict(model.named_parameters())
    if different := sorted(set(own) ^ set(weights)):
        raise CheckpointError(f"weights missing or unknown: {', '.join(different)}")
    for name, parameter in own.items():
        given = weights[name]
        if given.shape != parameter.shape or given.dtype != parameter.dtype:
            raise CheckpointError(
                f"{name} is {given.dtype} {tuple(given.shape)}, "
                f"the model needs {parameter.dtype} {tuple(parameter.shape)}"
            )
        parameter.copy_(given)
