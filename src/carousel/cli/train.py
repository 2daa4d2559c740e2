"""`carousel train`: the command, its presets and settings, and the folder it writes to."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from carousel.cli.console import choose_device, console
from carousel.cli.parse import parse, parse_some, usage_error
from carousel.cli.runs import find_run, new_run, newest_of, run_name
from carousel.data.reading import Reading
from carousel.errors import ConfigError
from carousel.models.config import ModelConfig
from carousel.training.config import (
    PRESETS,
    DataConfig,
    Preset,
    RunConfig,
    TrainingConfig,
    read_toml,
    run_config,
)

PROG = "carousel train"
MOST_THREADS = 1024  # OpenMP takes memory for each, and ends the process where there is none


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a character-level language model on a text, or without one on the built-in tales.

    Settings start from a preset; a --config file wins over it, flags over both.

    Attributes:
        corpus: Text files (.gz and .zst are unpacked), folders of them, and - for stdin. None: the
            built-in tales, whose best possible loss is known.
        out: Folder of the run. None: runs/NAME, after the text.
        preset: Settings to start from: "best" learned most in least time of all that was tried,
            "story" is the reference recipe, "demo" takes a minute.
        config: A TOML file of settings: tables [model], [training], [data].
        resume: Repeat the command that started the run in --out (or the newest of this text), and
            continue it exactly where it stopped.
        init_from: Start from the weights and sizes of another run, or of story, which ships.
        device: "auto" takes CUDA where there is one, else the CPU.
        threads: Threads to compute with. None: as many as the products can feed. Other
            programs at work slow several threads far more than --threads 1.
        cache_dir: Where prepared texts are kept. None: CAROUSEL_CACHE, else the user's cache
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
        """Refuse what makes no sense together."""
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"threads must be in [1, {MOST_THREADS:,}], got {self.threads}")

    @property
    def settings(self) -> RunConfig:
        """What decides the numbers, apart from text and machine."""
        return RunConfig(model=self.model, training=self.training, data=self.data)


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Those of the flags of Train that name settings to start from."""

    preset: Preset = "best"
    config: Path | None = None
    init_from: Path | None = None


_HELP = {"-h", "--help"}


def read_command(arguments: list[str]) -> Train:
    """Parse twice: for the settings to start from, then for all, with those as defaults.

    Until those are read nobody knows which flags go together.
    """
    asked = parse_some(_Start, [a for a in arguments if a not in _HELP], prog=PROG)
    if _HELP & set(arguments):  # which is there also where no file is
        asked = replace(asked, config=None, init_from=None)
    source = {"model": _model_settings(asked.init_from)} if asked.init_from else {}
    try:
        file = read_toml(asked.config) if asked.config else {}
        defaults = run_config(
            (f"preset {asked.preset}", PRESETS[asked.preset]),
            (str(asked.init_from), source),
            (str(asked.config), file),
        )
    except ConfigError as error:
        usage_error(str(error), PROG)
    start = Train(model=defaults.model, training=defaults.training, data=defaults.data)
    return parse(Train, arguments, prog=PROG, default=start)


def _model_settings(run: Path) -> dict[str, Any]:
    """Return the [model] settings of a trained model."""
    from carousel.models.checkpoint import load_model

    model: dict[str, Any] = load_model(find_run(run)).config["model"]
    return model


def main(arguments: list[str]) -> int:
    """Train, and return the exit code."""
    command = read_command(arguments)
    from carousel.cli.text_source import open_source
    from carousel.cli.train_run import train
    from carousel.data.split import check_method
    from carousel.training.run_claim import claimed

    check_method(command.data.split, command.data.index)
    device = choose_device(command.device)
    source = open_source(
        command.corpus, command.reading, command.cache_dir, is_exact=command.resume
    )
    is_folder = len(command.corpus) == 1 and command.corpus[0].is_dir()
    name = source.corpus.name
    path = _run_folder(command, name if is_folder else Path(name).stem, source.corpus.sha256)
    with claimed(path) as folder:
        return train(command, source, folder, device)


def _run_folder(command: Train, name: str, sha256: str) -> Path:
    """Return the folder to write to, given the name and the hash of the text.

    Raises:
        RunError: If --out names a folder that is neither new, nor empty, nor a run.
    """
    if command.out is None:
        name = run_name(name)
        if command.resume and (newest := newest_of(name, sha256)):
            return newest
        path = new_run(name)
        if path.name != name:
            note = f"note: runs/{name} is there already; this run is {path}"
            console.print_line(note)
        return path
    from carousel.plain_paths import resolved
    from carousel.training.run_mark import check_run

    check_run(resolved(command.out), f"--out {command.out}")
    return command.out
