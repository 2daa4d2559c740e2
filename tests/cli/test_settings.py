"""From arguments, presets and files to settings: flags win, and every flag exists."""

import io
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from carousel.cli.main import run
from carousel.cli.parse import parse
from carousel.cli.sample import Sample
from carousel.cli.train import Train, read_command
from carousel.models.config import ModelConfig
from carousel.training.config import PRESETS, TrainingConfig, run_config

# The flags that scripts rely on, each with a value that it takes.
PROMISED = {
    "--out": "runs/a",
    "--preset": "story",
    "--config": "a.toml",
    "--model": "lstm",
    "--steps": "10",
    "--seed": "3",
    "--batch-size": "2",
    "--sequence-length": "5",
    "--embedding-size": "7",
    "--hidden-size": "9",
    "--num-layers": "2",
    "--learning-rate": "0.5",
    "--optimizer": "adamw",
    "--max-grad-norm": "0.25",
    "--eval-every": "11",
    "--save-every": "12",
    "--sample-every": "13",
    "--init-from": "runs/b",
    "--device": "cpu",
    "--precision": "bf16",
    # and those that README.md and docs/ name
    "--split": "exact",
    "--fractions": "0.8,0.2",
    "--split-seed": "7",
    "--index": "books.tsv",
    "--dropout": "0.5",
    "--threads": "1",
    "--time-limit": "60.5",
    "--patience": "3",
}


def value(command: Train, name: str) -> object:
    """The value of a setting; `model` is that of the architecture."""
    parts = (command.model, command.training, command.data, command)
    return next(getattr(part, name) for part in parts if hasattr(part, name))


@pytest.mark.parametrize("flag", PROMISED)
def test_every_promised_flag_exists(flag: str) -> None:
    command = parse(Train, ["a.txt", flag, PROMISED[flag]], prog="carousel train", default=Train())
    assert str(value(command, flag.removeprefix("--").replace("-", "_"))) == PROMISED[flag]
    assert command.corpus == (Path("a.txt"),)


def test_flags_without_a_value() -> None:
    arguments = ["a.txt", "b.txt", "--resume", "--tie-weights", "--embedding-size", "256"]
    command = parse(Train, arguments, prog="x", default=Train())
    assert command.resume
    assert command.model.tie_weights
    assert command.corpus == (Path("a.txt"), Path("b.txt"))


def test_without_arguments_the_best_is_taken() -> None:
    command = read_command([])
    assert command.settings == run_config(("", PRESETS["best"]))
    assert replace(command, model=ModelConfig(), training=TrainingConfig()) == Train()


def test_a_source_of_weights_keeps_its_sizes_whatever_the_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file wins over it, as over the preset, and a flag over both."""
    source = ModelConfig(hidden_size=7, num_layers=2)
    monkeypatch.setattr("carousel.cli.train._model_settings", lambda _: asdict(source))
    (tmp_path / "a.toml").write_text("[model]\nnum_layers = 3\n")
    file, flag = ["--config", str(tmp_path / "a.toml")], ["--num-layers", "4"]
    for asked, layers in (([], 2), (file, 3), ([*file, *flag], 4)):
        settings = read_command(["--init-from", "a", *asked]).settings
        assert settings.model == replace(source, num_layers=layers)
        assert settings.training == run_config(("", PRESETS["best"])).training


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_it_says(preset: str) -> None:
    assert read_command(["a.txt", "--preset", preset]).settings == run_config(("", PRESETS[preset]))


def test_help_shows_what_would_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, size in (([], 384), (["--preset", "story"], 256)):
        with pytest.raises(SystemExit, match="0"):
            read_command([*asked, "--help"])
        _, about = capsys.readouterr().out.split("--hidden-size INT ")
        assert f"(default: {size})" in about[: about.index("--num-layers")]


def test_a_file_wins_over_a_preset_and_a_flag_over_both(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(
        "[model]\nhidden_size = 33\n[training]\nsteps = 44\nseed = 5\n[data]\nsplit = 'exact'\n"
    )
    command = read_command(["a.txt", "--preset", "story", "--config", str(path), "--steps", "55"])
    assert command.model.hidden_size == 33
    assert command.training.steps == 55
    assert command.training.seed == 5
    assert command.training.schedule == "constant"  # the preset's
    assert command.data.split == "exact"
    # A flag wins also where it says what the default is.
    again = read_command(["--config", str(path), "--seed", "0", "--steps", "None"])
    assert (again.training.seed, again.training.steps) == (0, None)


def test_none_and_numbers_are_told_apart() -> None:
    assert parse(Sample, ["--top-k", "None"], prog="x").sampling.top_k is None
    assert parse(Sample, ["--top-k", "3"], prog="x").sampling.top_k == 3
    assert parse(Sample, ["--prompt", "None"], prog="x").prompt == "None"
    assert parse(Sample, ["--stop", "a", "--stop", "None"], prog="x").stop == ("a", "None")
    assert parse(Sample, ["run", "--prompt=-5 --x"], prog="x").prompt == "-5 --x"


@pytest.mark.parametrize(
    "surroundings",
    [
        {},
        {"COLUMNS": "30"},
        {"COLUMNS": "300"},
        {"FORCE_COLOR": "1"},
        {"NO_COLOR": "1"},
        {"TERM": "dumb"},
    ],
    ids=str,
)
def test_a_mistake_is_one_line_in_any_terminal(
    surroundings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, setting in surroundings.items():
        monkeypatch.setenv(name, setting)
    with pytest.raises(SystemExit) as caught:
        run(["train", "a.txt", "--hiden-size", "3"])
    assert caught.value.code == 2
    assert capsys.readouterr() == (
        "",
        "carousel train: Unrecognized options: --hiden-size, 3; perhaps you meant --hidden-size "
        "(see carousel train --help)\n",
    )


def test_a_mistake_is_one_line_where_nobody_knows_the_encoding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What tyro draws around a mistake depends on the encoding of stdout."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit):
        parse(Train, ["--no-such-flag"], prog="x", default=Train())
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--no-such-flag" in err


def test_flags_are_held_against_what_they_start_from(tmp_path: Path) -> None:
    """A flag that only some architecture knows fits a file that names it, and no other."""
    (tmp_path / "a.toml").write_text('[model]\nmodel = "mlp"\n')
    asked = ["a.txt", "--config", str(tmp_path / "a.toml"), "--context-length", "6"]
    hidden = read_command([]).model.hidden_size
    mlp = ModelConfig(model="mlp", hidden_size=hidden, context_length=6)
    assert read_command(asked).model == mlp
    with pytest.raises(SystemExit, match="2"):
        read_command([*asked, "--model", "lstm"])
    with pytest.raises(SystemExit, match="0"):
        read_command(["--config", str(tmp_path / "nowhere.toml"), "--help"])
