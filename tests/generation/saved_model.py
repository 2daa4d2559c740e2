"""A small untrained model on disk, as a run folder that every command takes."""

from dataclasses import asdict
from pathlib import Path

import torch

from carousel.data.vocabulary import Vocabulary
from carousel.models.checkpoint import model_files, write_checkpoint
from carousel.models.config import ModelConfig
from carousel.models.language_model import build

VOCABULARY = Vocabulary.from_text("\n abcdeé“")
SMALL = ModelConfig(embedding_size=4, hidden_size=8)


def save_run(
    folder: Path,
    vocabulary: Vocabulary = VOCABULARY,
    config: ModelConfig = SMALL,
    seed: int = 0,
) -> Path:
    """Write the run and return its folder."""
    torch.manual_seed(seed)
    model = build(config, len(vocabulary))
    (folder / "checkpoints").mkdir(parents=True)
    files = model_files(model, vocabulary, {"model": asdict(config)})
    write_checkpoint(folder / "checkpoints" / "1", files)
    for pointer in ("best", "last"):
        (folder / pointer).write_text("1")
    return folder
