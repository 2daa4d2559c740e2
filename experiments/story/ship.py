"""Make of a trained run the model that ships: its weights rounded to bf16, in the package.

python -m experiments.story.ship RUN

Half the bytes of float32; loading makes float32 of them again. The card judges what was rounded.
"""

# ruff: noqa: T201 - a script that prints what it did

import sys
from pathlib import Path
from typing import Any

import torch

from carousel.files import remove_folder
from carousel.models.checkpoint import foreign_names, load_model, model_files, write_checkpoint
from carousel.models.pretrained import ARTEFACTS, TELLER

MOST = 8_000_000  # bytes of the folder


def main() -> None:
    """Round, and write."""
    (run,) = sys.argv[1:]
    trained = load_model(Path(run))
    trained.model.to(torch.bfloat16)
    files = model_files(trained.model, trained.vocabulary, portable(trained.config))
    if (size := sum(map(len, files.values()))) > MOST:
        raise SystemExit(f"{run} takes {size:,} bytes, more than {MOST:,}")
    folder = ARTEFACTS / TELLER
    if folder.exists():
        if foreign := foreign_names(folder):
            raise SystemExit(f"{folder} holds {foreign[0]}, which no checkpoint has: move it away")
        remove_folder(folder)
    write_checkpoint(folder, files)
    print(f"{trained.folder}: {size:,} bytes in {folder}")


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """Return what config.json says without the folders of the machine that trained."""
    if isinstance(config, dict):
        return {
            key: Path(value).name if key == "index" and value else portable(value)
            for key, value in config.items()
        }
    return config


if __name__ == "__main__":
    main()
