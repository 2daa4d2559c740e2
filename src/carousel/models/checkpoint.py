"""A trained model on disk: one folder, complete or absent, every byte of it accounted for.

config.json, vocabulary.json, model.safetensors, what else its writer adds, and manifest.json with
the size and SHA-256 of each. The folder appears by one rename; no pickle is written or read.
"""

import errno
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from carousel._version import __version__
from carousel.errors import CarouselError, CheckpointError
from carousel.files import publish_folder
from carousel.models.base import LanguageModel
from carousel.models.characters import build
from carousel.models.config import ModelConfig
from carousel.models.shipped import by_name
from carousel.models.tensor_file import Entry, check_like, read_header, read_tensors
from carousel.plain_paths import is_plain_file
from carousel.tables import from_table
from carousel.text.vocabulary import Vocabulary

FORMAT = 2
MANIFEST = "manifest.json"
_MODEL_FILES = {"config.json", "vocabulary.json", "model.safetensors"}  # what load_model keeps
_TRAINER_FILES = {"trainer.json", "trainer.safetensors"}  # what training adds
_POINTERS = {"best", "last"}  # files of a run, each with the name of a checkpoint


class TrainedModel(NamedTuple):
    """A model ready to use, its alphabet, and what config.json says of both."""

    model: LanguageModel
    vocabulary: Vocabulary
    config: dict[str, Any]
    folder: Path


def to_json(table: Any) -> bytes:
    """Return readable JSON, the same bytes for the same table."""
    text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # half a surrogate pair becomes \udce9


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


def read_checkpoint(folder: Path, keep: Collection[str] | None = None) -> dict[str, bytes]:
    """Return files of a checkpoint, after every one was found whole and unchanged.

    Args:
        folder: Of the checkpoint.
        keep: Names of those to return; the others pass through a small buffer. None: all of them.

    Raises:
        CheckpointError: If the folder is none, or a file is missing, damaged or too many.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{folder} is no checkpoint: it has no {MANIFEST}") from None
    except OSError as error:
        raise _unreadable(error, folder / MANIFEST) from None
    expected = _read_manifest(folder / MANIFEST, data)
    if surplus := sorted(present - set(expected)):
        raise CheckpointError(f"{folder / surplus[0]} is not in the manifest")
    if missing := sorted(set(expected) - present):
        raise CheckpointError(f"{folder / missing[0]} is missing")
    kept = set(expected) if keep is None else set(keep)
    for name in sorted(set(expected) - kept):
        _check(folder / name, *expected[name])
    return {name: _read(folder / name, *row) for name, row in expected.items() if name in kept}


def _read_manifest(path: Path, data: bytes) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file; the manifest itself must be as write_checkpoint's."""
    try:
        manifest = json.loads(data)
        version = manifest["format"]
        expected = {name: (row["bytes"], row["sha256"]) for name, row in manifest["files"].items()}
        is_whole = to_json(manifest) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise CheckpointError(f"{path} is damaged: it is not as it was written")
    if version != FORMAT:
        raise CheckpointError(f"{path}: format {version}, this version reads {FORMAT}")
    return expected


def has_manifest(folder: Path) -> bool:
    """Tell whether a folder has a manifest as `write_checkpoint` writes it, of any format."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = json.loads(data)
        rows = [set(row) for row in manifest["files"].values()]
        return to_json(manifest) == data and all(row == {"bytes", "sha256"} for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def foreign_names(folder: Path) -> list[str]:
    """Return what a checkpoint folder holds beside the files of a checkpoint: a user's notes."""
    try:
        expected = set(_read_manifest(folder / MANIFEST, (folder / MANIFEST).read_bytes()))
    except (CheckpointError, OSError):
        expected = set()
    known = expected | _MODEL_FILES | _TRAINER_FILES | {MANIFEST}
    return sorted(
        path.name for path in folder.iterdir() if path.name not in known or not is_plain_file(path)
    )


def _read(path: Path, size: int, sha256: str) -> bytes:
    """Read one file and hold it against its manifest entry, the size first."""
    with _opened(path, size) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")
    return data


def _check(path: Path, size: int, sha256: str) -> None:
    """Hold one file against its manifest entry without keeping it."""
    with _opened(path, size) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")


@contextmanager
def _opened(path: Path, size: int) -> Iterator[FileIO]:
    """Open a file of this size for reading."""
    try:
        if (found := path.stat().st_size) != size:
            raise CheckpointError(f"{path} is damaged: {found} bytes instead of {size}")
        with path.open("rb", buffering=0) as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise _unreadable(error, path) from None


def _unreadable(error: OSError, path: Path) -> Exception:
    """Tell a damage of the disk from what may pass (no permission, too many files open)."""
    if error.errno in (errno.EIO, errno.EISDIR):
        return CheckpointError(f"{path} is damaged: {error.strerror}")
    return error


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
            return unpack(read_checkpoint(folder, _MODEL_FILES), folder, device=device)
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
        name = (path / pointer).read_text(encoding="ascii", errors="replace").strip()
        if not name.isdecimal():
            raise CheckpointError(f"{path / pointer} is damaged: it names no checkpoint")
        return path / "checkpoints" / name
    if not path.exists():
        raise CheckpointError(f"no such run or checkpoint: {path}")
    raise CheckpointError(f"{path} is no run with a checkpoint: it has no {MANIFEST} or {pointer}")


def unpack(files: Mapping[str, bytes], folder: Path, *, device: str = "cpu") -> TrainedModel:
    """Build the model that a checkpoint's files describe; torch's generators are not touched.

    Raises:
        CheckpointError: If the files do not fit one another; the message names one.
    """
    with _blaming(folder / "config.json"):
        config = json.loads(files["config.json"])
        settings = from_table(ModelConfig, config["model"])
    with _blaming(folder / "vocabulary.json"):
        vocabulary = Vocabulary.from_json(files["vocabulary.json"].decode())
    with _blaming(folder / "model.safetensors"):
        entries = read_header(files["model.safetensors"])
        stored = {name: _widened(entry) for name, entry in entries.items()}
        found = sum(math.prod(entry.shape) for entry in entries.values())
        needed = settings.num_parameters(len(vocabulary))
        if found != needed:  # before a model of absurd size is built
            raise CheckpointError(f"{found:,} numbers, the model has {needed:,}")
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


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Name the file in whatever turns out to be wrong with its content."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{path} is not complete: {error} is missing") from None
    except (
        CarouselError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path} does not fit this program or its checkpoint: {error}"
        ) from None


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
        raise CheckpointError(f"weights missing or unknown: {', '.join(different)}")
    for name, parameter in own.items():
        check_like(weights[name], parameter, name, "the model")
