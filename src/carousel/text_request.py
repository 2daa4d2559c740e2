"""Check the arguments of a `TextModel`, and convert them for the packages below."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from carousel.data.vocabulary import Ids, OnUnknown, Vocabulary
from carousel.errors import ConfigError, RunError, TextError, python_words
from carousel.files import make_folder, remove_made
from carousel.generation.config import DEFAULT_SAMPLING, SamplingConfig
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import model_files, unpack, write_checkpoint
from carousel.plain_paths import resolved
from carousel.threads import one_thread
from carousel.training.keyword_settings import unknown_setting

_OTHERS = ("length", "n", "stop", "sample", "on_unknown", "precision", "sampling")


def known_prompt(vocabulary: Vocabulary, prompt: str, on_unknown: OnUnknown) -> str:
    """Return a prompt of characters that the model knows."""
    if not isinstance(prompt, str):
        raise ConfigError(f"a prompt must be a str, got {type(prompt).__name__}")
    _check_unknown(on_unknown)
    try:
        ids = vocabulary.encode(prompt, on_unknown=on_unknown)
    except TextError as error:
        raise TextError(f"prompt: {error}{_advice(on_unknown)}") from None
    return vocabulary.decode(ids)


def known_ids(vocabulary: Vocabulary, text: str, on_unknown: OnUnknown) -> Ids:
    """Return the ids of a text of at least two characters."""
    if not isinstance(text, str):
        raise ConfigError(f"text must be a str, got {type(text).__name__}")
    _check_unknown(on_unknown)
    try:
        ids = vocabulary.encode(text, on_unknown=on_unknown)
    except TextError as error:
        raise TextError(f"text: {error}{_advice(on_unknown)}") from None
    if len(ids) < 2:
        raise TextError(f"the text has {len(ids)} characters; it takes 2 to predict one")
    return ids


def sampling_config(
    sampling: SamplingConfig | None, settings: Mapping[str, Any], call: str
) -> SamplingConfig:
    """Return the settings of a call; keywords beside an object are refused.

    Raises:
        ConfigError: If one is unknown or impossible.
    """
    known = [field.name for field in fields(SamplingConfig)]
    for name in settings:
        if name not in known:
            raise unknown_setting(name, [*known, *_OTHERS], call)
        if sampling is not None:
            raise ConfigError(f"{name} stands in the SamplingConfig that sampling gives")
    return sampling or replace(DEFAULT_SAMPLING, **settings)


def as_texts(prompts: object) -> list[str]:
    """Return prompts as a list.

    Raises:
        ConfigError: If they are no sequence.
    """
    if not isinstance(prompts, Sequence):
        raise ConfigError(f"prompt must be a str or a list of them, got {type(prompts).__name__}")
    return list(prompts)


def _check_unknown(on_unknown: str) -> None:
    if on_unknown not in ("error", "skip", "replace"):
        raise ConfigError(f"on_unknown must be one of error, skip, replace, got {on_unknown!r}")


def _advice(on_unknown: str) -> str:
    return "; on_unknown='skip' or 'replace' would take it" if on_unknown == "error" else ""


@contextmanager
def evaluating(module: LanguageModel) -> Iterator[None]:
    """Set a module to evaluation mode for a block."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def save_model(
    module: LanguageModel, vocabulary: Vocabulary, config: Mapping[str, Any], folder: Path
) -> None:
    """Write a model as a new checkpoint folder, whole or not at all.

    Raises:
        RunError: If something is there already.
        CheckpointError: If the module is not the model that its config describes.
    """
    root = resolved(folder)
    if os.path.lexists(root):
        raise RunError(f"{folder} is there already; name another folder")
    about = {k: v for k, v in config.items() if k not in ("format", "carousel")}
    files = model_files(module, vocabulary, about)
    unpack(files, folder)  # a module that was changed is refused before anything is written
    made = make_folder(root.parent)
    try:
        write_checkpoint(root, files)
    except BaseException:
        remove_made(made)
        raise


def one_by_one(module: LanguageModel, pieces: Iterator[str]) -> Iterator[str]:
    """Yield pieces of a text, each computed in evaluation mode on one thread."""
    while True:
        with python_words(), evaluating(module), one_thread():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
