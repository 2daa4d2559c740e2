"""Commands in surroundings that nobody means: closed streams, little memory, odd variables."""

import os
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import pytest

from carousel.errors import ConfigError, DataError
from carousel.forecasting import rows
from carousel.forecasting.numbers import is_number
from carousel.models.config import ModelConfig
from carousel.training.config import DataConfig, RunConfig, TrainingConfig
from carousel.training.memory import check_memory, check_weights
from cli.commands import TEXT, TINY, Result, command, environment

needs_posix = pytest.mark.skipif(os.name == "nt", reason="descriptors and limits of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "song.txt").write_text(TEXT, encoding="utf-8")
    result = command(folder, "train", "song.txt", *TINY, "--steps", "2", "--out", "run")
    assert result.code == 0, result.err
    return folder


def shell(cwd: Path, line: str, **changes: str) -> Result:
    """Run `carousel …` with a shell's redirections and limits."""
    carousel = f'"{sys.executable}" -m carousel'
    done = subprocess.run(
        ["bash", "-c", line.replace("carousel", carousel, 1)],
        cwd=cwd,
        env=environment(cwd, **changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@needs_posix
@pytest.mark.parametrize(
    "line",
    ["sample run --length 5", "eval run song.txt --json", "train --help", "--version", "--help"],
)
def test_nothing_is_lost_without_a_word_where_stdout_is_closed_or_full(
    place: Path, line: str
) -> None:
    closed = shell(place, f"carousel {line} >&-")
    assert closed.code == 1
    assert closed.err.endswith("stdout is closed: there is nowhere to write to\n")
    if Path("/dev/full").exists():
        full = shell(place, f"carousel {line} >/dev/full")
        assert full.code == 1
        assert full.err.endswith("No space left on device\n")
        assert "Traceback" not in full.err + closed.err


@needs_posix
def test_training_writes_its_run_and_nothing_else_where_all_streams_are_closed(place: Path) -> None:
    words = f"train song.txt {' '.join(TINY)} --steps 2 --out quiet"
    # Its sample could not be printed.
    assert shell(place, f"carousel {words} <&- >&- 2>&-") == Result(1, "", "")
    assert shell(place, f"carousel {words}-2 <&- 2>&-").code == 0
    assert shell(place, "carousel eval quiet song.txt").code == 0
    lines = (place / "quiet" / "metrics.jsonl").read_text().splitlines()
    assert all(line.startswith("{") for line in lines)


@needs_posix
def test_a_closed_stdin_is_an_empty_one(place: Path) -> None:
    result = shell(place, f"carousel train - {' '.join(TINY)} --out nothing <&-")
    assert (result.code, result.err) == (1, "carousel train: stdin is empty\n")
    assert not (place / "nothing").exists()


@needs_posix
@pytest.mark.parametrize("kilobytes", [250_000, 450_000])
def test_where_memory_ends_there_is_one_line(place: Path, kilobytes: int) -> None:
    result = shell(place, f"ulimit -v {kilobytes}; carousel eval run song.txt")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert result.err.splitlines()[-1].startswith("carousel eval: ")


def test_a_compiler_that_no_shell_could_read_leaves_the_rest_to_torch(place: Path) -> None:
    odd = {"CXX": '"', "CAROUSEL_KERNEL_CACHE": str(place / "no kernels")}
    result = shell(place, "carousel sample run --length 5", **odd)
    assert result.code == 0, result.err
    built = shell(place, "carousel kernels build", **odd)
    assert built.code == 1
    assert built.err == "carousel kernels: CXX is no command line: No closing quotation\n"


def test_a_setting_with_a_zero_byte_is_refused(place: Path) -> None:
    (place / "nul.toml").write_text('[data]\nsplit = "books"\nindex = "a\\u0000b"\n')
    result = command(place, "train", "song.txt", *TINY, "--config", "nul.toml")
    assert result.code == 2
    assert "index must be the name of a file, got 'a\\x00b'" in result.err
    with pytest.raises(ConfigError, match="index must be the name of a file"):
        DataConfig(index="a\0b")


def test_a_batch_beyond_the_memory_is_refused_with_the_estimate(place: Path) -> None:
    flags = (*TINY, "--batch-size", "4000000000", "--out", "huge")
    result = command(place, "train", "song.txt", *flags)
    assert result.code == 2
    assert "batch_size 4,000,000,000 and sequence_length 16 need at least 2,048." in result.err
    assert not (place / "huge").exists()


def config(**sizes: int) -> RunConfig:
    return RunConfig(
        model=ModelConfig(hidden_size=sizes.get("hidden_size", 256)),
        training=TrainingConfig(batch_size=sizes.get("batch_size", 64)),
    )


def test_the_estimate_never_refuses_what_fits() -> None:
    """A step of the reference sizes was measured to take 300 MB and more."""
    check_memory(config(), 100, 100_000_000)
    check_memory(config(batch_size=2**40), 100, None)
    with pytest.raises(ConfigError, match="need at least"):
        check_memory(config(batch_size=2**20), 100, 16_000_000_000)
    with pytest.raises(ConfigError, match=r"a model of [\d,]+ parameters needs at least 13\.\d GB"):
        check_weights(ModelConfig(hidden_size=16_600), 100, 8_000_000_000)
    check_weights(ModelConfig(hidden_size=16_600), 100, 16_000_000_000)


def test_an_svg_is_well_formed_whatever_a_column_is_called(place: Path) -> None:
    rows = [f"{k},{100 + k % 7}" for k in range(60)]
    header = 'day,"m\x01\x1b\x0b\x85\ufffe<&>]]>--$x$ %"'
    (place / "odd.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    flags = ("--epochs", "1", "--embedding-size", "4", "--hidden-size", "6", "--window", "5")
    result = command(place, "forecast", "odd.csv", *flags, "--out", "odd")
    assert result.code == 0, result.err
    xml.dom.minidom.parse(str(place / "odd" / "forecast.svg"))


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[training]\nseed = 0x" + "f" * 5000,
            "seed in [training] of my.toml must be a whole number, at least 0, at most",
        ),
        (
            "[model]\nhidden_size = 0o" + "7" * 9000,
            "hidden_size in [model] of my.toml must be a whole number, at least 1",
        ),
        ("[" + "a." * 20_000 + "a]", "my.toml is not a TOML file: nested too deep: set"),
        ("x = " + "[" * 3000 + "]" * 3000, "my.toml is not a TOML file: "),
        ("# " + "x" * 70_000, "my.toml "),
    ],
)
def test_settings_that_nobody_writes_are_refused_at_once(
    place: Path, toml: str, message: str
) -> None:
    (place / "my.toml").write_text(toml)
    result = command(place, "train", "song.txt", *TINY, "--config", "my.toml")
    assert result.code == 2
    assert result.err.startswith(f"carousel train: {message}")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--cache-dir", "--out", "--config", "--init-from"])
def test_an_empty_path_is_not_the_working_folder(place: Path, flag: str) -> None:
    result = command(place, "train", "song.txt", *TINY, flag, "")
    assert result.code == 2
    assert f"{flag} must be the name of a file or folder, got ''" in result.err


def test_a_time_limit_that_ends_before_the_first_step_is_told(place: Path) -> None:
    flags = (*TINY, "--time-limit", "1e-300", "--out", "hasty")
    result = command(place, "train", "song.txt", *flags)
    assert result.code == 1
    message = "the time limit of 1e-300 s ended before the first step: give it more"
    assert result.err.splitlines()[-1] == f"carousel train: {message}"
    assert "curve" not in result.err
    assert not (place / "hasty").exists()


def test_a_table_beyond_the_memory_is_refused_with_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "available_memory", lambda: 100_000_000)
    rows.split_rows("1\n" * 30_000, "small.csv", is_number)
    with pytest.raises(DataError, match=r"big.csv has 40,000 lines, which .* about 0\.1 GB"):
        rows.split_rows("1\n" * 40_000, "big.csv", is_number)
