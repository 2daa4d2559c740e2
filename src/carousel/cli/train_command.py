"""The arguments of `carousel train`, as a dataclass."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from carousel.data.reading import Reading
from carousel.models.config import ModelConfig
from carousel.training.config import DataConfig, Preset, RunConfig, TrainingConfig
from carousel.training.devices import check_threads


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a character-level language model on a text, or without one on the built-in tales.

    Settings start from a preset; a --config file wins over it, flags over both.

    Attributes:
        corpus: Text files, folders of them, or - for stdin. Files ending in .gz or .zst are
            unpacked. Default: the built-in tales, whose best possible loss is known.
        out: Folder of the run. Default: runs/NAME, after the text.
        preset: Settings to start from. "best" learned most in least time of all that was tried,
            "story" is the reference recipe, "demo" takes a minute.
        config: TOML file of settings. Its tables are [model], [training] and [data].
        resume: Continue the run in --out exactly where it stopped. Repeat the command that started
            it; without --out the newest run of this text is taken.
        init_from: Start from the weights and sizes of another run. "story" is the model that ships.
        device: Where to compute. "auto" takes CUDA where there is one, else the CPU.
        threads: Threads to compute with. Other programs at work slow several threads far more than
            --threads 1. Default: as many as the products can feed.
        cache_dir: Where prepared texts are kept. Default: CAROUSEL_CACHE, else the user's cache
            folder.
    """

    corpus: tyro.conf.Positional[tuple[Path, ...]] = ()
    out: Path | None = None
    preset: Preset = "best"
    config: Path | None = None
    resume: bool = False
    init_from: Path | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = None
    cache_dir: Path | None = None
    reading: Reading = field(default_factory=Reading)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        """Check that the arguments go together."""
        check_threads(self.threads)

    @property
    def settings(self) -> RunConfig:
        """The settings that determine the numbers, apart from text and machine."""
        return RunConfig(model=self.model, training=self.training, data=self.data)
