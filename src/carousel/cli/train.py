"""`carousel train`: the command, its presets and settings, and the folder it writes to."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from carousel.cli.console import choose_device, console
from carousel.cli.help import Group, examples, first_sentence, groups, layout
from carousel.cli.model_choice import check_flags
from carousel.cli.parse import parse, parse_some, show_help, usage_error, wants_help
from carousel.cli.runs import find_run, new_run, newest_of, run_name
from carousel.cli.train_command import Train as Train
from carousel.errors import ConfigError
from carousel.models.config import ModelConfig, setting_names
from carousel.models.families import FAMILIES
from carousel.training.config import PRESETS, Preset, read_toml, run_config

PROG = "carousel train"


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Those of the flags of Train that name settings to start from."""

    preset: Preset = "best"
    config: Path | None = None
    init_from: Path | None = None
    model: str | None = None


_HELP = {"-h", "--help", "--help-all"}
# What most runs need, as --help shows it; --help-all has the rest.
_COMMON = {
    "run": ("corpus", "out", "preset", "config", "resume", "init_from", "device", "threads"),
    "model": ("model", "embedding_size", "hidden_size", "num_layers", "dropout"),
    "training": (
        *("sequence_length", "batch_size", "steps", "time_limit", "optimizer", "learning_rate"),
        *("seed", "split"),
    ),
}
_EXAMPLES = (
    "carousel train novel.txt",
    "carousel train novel.txt --model {model} --hidden-size 512 --out runs/big",
)


def read_command(arguments: list[str]) -> Train:
    """Parse twice: for the settings to start from, then for all, with those as defaults.

    Until those are read nobody knows which flags go together. Exits after --help, which shows
    what most runs need, or --help-all.
    """
    asked = parse_some(_Start, [a for a in arguments if a not in _HELP], prog=PROG)
    if _HELP & set(arguments):  # which is there also where no file is
        asked = replace(asked, config=None, init_from=None)
    source = {"model": _model_settings(asked.init_from)} if asked.init_from else {}
    flag = {"model": {"model": asked.model}} if asked.model else {}
    try:
        file = read_toml(asked.config) if asked.config else {}
        defaults = run_config(
            (f"preset {asked.preset}", PRESETS[asked.preset]),
            (str(asked.init_from), source),
            (str(asked.config), file),
            ("--model", flag),
        )
    except ConfigError as error:
        usage_error(str(error), PROG)
    start = Train(model=defaults.model, training=defaults.training, data=defaults.data)
    check_flags(arguments, type(start.model), PROG)
    if "--help-all" in arguments:
        arguments = ["--help"]
    elif wants_help(arguments):
        show_help(brief_help(start))
    return parse(Train, arguments, prog=PROG, default=start)


def brief_help(start: Train) -> str:
    """Return the help with the settings that most runs need, and the family's own."""
    options = {option.name: option for group in groups(Train, start) for option in group.options}
    shown = [
        Group(title, [first_sentence(options[name]) for name in names])
        for title, names in _COMMON.items()
    ]
    model = type(start.model)
    own = [name for name in setting_names(model) if name not in setting_names(ModelConfig)]
    if own:
        title = f"{FAMILIES[start.model.model].title} (--model {start.model.model})"
        shown.insert(2, Group(title, [first_sentence(options[name]) for name in own]))
    tries = examples([line.format(model=start.model.model) for line in _EXAMPLES])
    text = layout(PROG, (Train.__doc__ or "").partition("\n")[0], shown, notes=[tries])
    return f"{text}\n--help-all shows all settings; --model NAME --help those of another model.\n"


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
