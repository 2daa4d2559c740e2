"""A user's mistake is one line on stderr and the right exit code; nothing is left behind."""

import os
import signal
from pathlib import Path

import pytest
import torch

from carousel.training import prepared_run
from cli.commands import TINY, Call, Result, caller
from cli.foreign import furnish, picture

LEARNED = ("--model", "transformer", "--positions", "learned")
SIZE = "a whole number, at least 1, at most 1,048,576"
HELP = " (see carousel train --help)"


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    ours = caller(tmp_path, monkeypatch, capfd)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.txt").write_bytes(b"PNG\xff\xfe" * 100)
    (tmp_path / "short.txt").write_text("once")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear diary")
    (tmp_path / "unknown.toml").write_text("[training]\nlr = 1e-3\n")
    (tmp_path / "table.toml").write_text("[optimiser]\nname = 'adam'\n")
    (tmp_path / "type.toml").write_text("[model]\nhidden_size = 'large'\n")
    (tmp_path / "value.toml").write_text("[model]\nhidden_size = 0\n")
    (tmp_path / "broken.toml").write_text("[model\n")
    return ours


def contents(folder: Path) -> set[str]:
    """Everything but the cache, which may stay."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if not name.startswith("cache")}


def picture_but_cache(folder: Path) -> dict[str, tuple[object, ...]]:
    return {name: state for name, state in picture(folder).items() if not name.startswith("cache")}


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "wrong path": (["nowhere.txt"], 1, "no such file: nowhere.txt"),
    "one wrong path of two": (["song.txt", "nowhere.txt"], 1, "no such file: nowhere.txt"),
    "empty file": (["empty.txt"], 1, "empty.txt is empty"),
    "folder without a text": (
        ["folder", "--pattern", "*.md"],
        1,
        "folder folder has no file that fits *.md and holds something",
    ),
    "binary file": (
        ["binary.txt"],
        1,
        "binary.txt is not UTF-8: byte 0xff at offset 3; --encoding NAME reads another encoding",
    ),
    "text too short to split": (
        ["short.txt"],
        1,
        "short.txt has 4 characters, too few to split: the validation part would be empty",
    ),
    "text too short for a window": (
        ["song.txt", "--sequence-length", "100000"],
        1,
        "the text has {train} characters, and a window of 100000 needs 100001: "
        "a smaller --sequence-length would work",
    ),
    "typo in a flag": (
        ["song.txt", "--hiden-size", "3"],
        2,
        "Unrecognized options: --hiden-size, 3; perhaps you meant --hidden-size" + HELP,
    ),
    "no number": (
        ["song.txt", "--hidden-size", "many"],
        2,
        "--hidden-size must be a whole number, got 'many'" + HELP,
    ),
    "no number where none is possible": (
        ["song.txt", "--steps", "1.5"],
        2,
        "--steps must be a whole number, got '1.5'" + HELP,
    ),
    "impossible value": (
        ["song.txt", "--hidden-size", "0"],
        2,
        f"hidden_size must be {SIZE}, got 0" + HELP,
    ),
    "value missing": (
        ["song.txt", "--steps"],
        2,
        "Missing value for argument '--steps'. Expected 1 values" + HELP,
    ),
    "unknown choice": (
        ["song.txt", "--optimizer", "sgd"],
        2,
        "invalid choice 'sgd' for argument '--optimizer'. "
        "Expected one of ('adam', 'adamw', 'muon')" + HELP,
    ),
    "fractions that are none": (
        ["song.txt", "--fractions", "most"],
        2,
        "fractions must be numbers with commas between them, got 'most'" + HELP,
    ),
    "fractions that do not add up": (
        ["song.txt", "--fractions", "0.9,0.2"],
        2,
        "fractions must add up to 1, got [0.9, 0.2]",
    ),
    "out is a file": (
        ["song.txt", "--out", "empty.txt"],
        1,
        "--out empty.txt is a file; name a folder for the run",
    ),
    "out holds something else": (
        ["song.txt", "--out", "folder"],
        1,
        "--out folder is not empty and holds no run; name another",
    ),
    "init from nowhere": (
        ["song.txt", "--init-from", "nowhere"],
        1,
        "no such run: nowhere",
    ),
    "init from no run": (
        ["song.txt", "--init-from", "folder"],
        1,
        "folder is no run with a checkpoint: it has no manifest.json or best",
    ),
    "config file that is not there": (
        ["song.txt", "--config", "nowhere.toml"],
        1,
        "No such file or directory: nowhere.toml",
    ),
    "unknown setting in a config file": (
        ["song.txt", "--config", "unknown.toml"],
        2,
        "no setting named lr in [training] of unknown.toml; there are ['sequence_length', ",
    ),
    "unknown table in a config file": (
        ["song.txt", "--config", "table.toml"],
        2,
        "table.toml has no use for [optimiser]; there are ['model', 'training', 'data']" + HELP,
    ),
    "wrong type in a config file": (
        ["song.txt", "--config", "type.toml"],
        2,
        f"hidden_size in [model] of type.toml must be {SIZE}, got 'large'" + HELP,
    ),
    "impossible value in a config file": (
        ["song.txt", "--config", "value.toml"],
        2,
        f"hidden_size in [model] of value.toml must be {SIZE}, got 0" + HELP,
    ),
    "config file that is none": (
        ["song.txt", "--config", "broken.toml"],
        2,
        "broken.toml is not a TOML file: ",
    ),
    "heads that do not divide the features": (
        ["song.txt", "--model", "transformer", "--num-heads", "3"],
        2,
        "num_heads must divide embedding_size, got 3 heads for 64 features" + HELP,
    ),
    "a context of what has none": (
        ["song.txt", "--context-length", "8"],
        2,
        "context_length is for --model mlp or transformer, this is lstm" + HELP,
    ),
    "lanes beyond the last position": (
        ["song.txt", *LEARNED, "--batching", "lanes"],
        2,
        "batching lanes reads on without end, and learned positions end after context_length 128: "
        "batching windows would work",
    ),
    "a window beyond the last position": (
        ["song.txt", *LEARNED, "--sequence-length", "129"],
        2,
        "learned positions end after context_length 128, and sequence_length is 129",
    ),
    "model beyond all bounds": (
        ["song.txt", "--hidden-size", "10000000000000"],
        2,
        "hidden_size must be a whole number, at least 1, at most 1,048,576, got 10000000000000",
    ),
    "model beyond all memory": (
        ["song.txt", "--hidden-size", "1000000"],
        2,
        "a model of 4,000,291,001,755 parameters needs at least 48,003.5 GB of memory to train, ",
    ),
}


TERMINALS: dict[str, tuple[int, dict[str, str]]] = {
    "80 columns": (80, {}),
    "80 columns without colours": (80, {"NO_COLOR": "1"}),
    "200 columns": (200, {}),
    "200 columns without colours": (200, {"NO_COLOR": "1"}),
    "a dumb terminal": (80, {"TERM": "dumb"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, call: Call, name: str) -> None:
    check_mistake(tmp_path, call, name)


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("terminal", TERMINALS)
def test_a_mistake_is_the_same_line_on_a_terminal(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, terminal: str, name: str
) -> None:
    from cli.screen import terminal_caller

    columns, changes = TERMINALS[terminal]
    check_mistake(tmp_path, terminal_caller(call, monkeypatch, columns, **changes), name)


def check_mistake(folder: Path, call: Call, name: str) -> None:
    arguments, code, message = MISTAKES[name]
    furnish(folder / "theirs")
    before = picture_but_cache(folder)
    result = call("train", *arguments)
    message = message.format(train=train_part(folder)) if "{" in message else message
    assert result.err.startswith(f"carousel train: {message}"), result.err
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    assert (result.code, result.out) == (code, "")
    assert picture_but_cache(folder) == before


@pytest.mark.parametrize("terminal", TERMINALS)
def test_a_usage_error_has_no_box_and_no_colour_on_a_terminal(
    tmp_path: Path, terminal: str
) -> None:
    """In a process of its own, which knows nothing but a terminal."""
    from cli.screen import on_terminal

    columns, changes = TERMINALS[terminal]
    message = "Unrecognized options: --hiden-size, 3; perhaps you meant --hidden-size" + HELP
    shown = on_terminal(
        tmp_path, "train", "song.txt", "--hiden-size", "3", columns=columns, **changes
    )
    assert shown == (2, f"carousel train: {message}\r\n")


@pytest.mark.parametrize("columns", [20, 80])
def test_a_long_word_in_a_usage_error_is_not_broken(
    call: Call, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    from cli.screen import in_process

    word = "x" * 290
    shown = in_process(monkeypatch, "train", "--steps", word, columns=columns)
    assert shown == (
        2,
        f"carousel train: --steps must be a whole number, got {word!r}{HELP}\r\n",
    )


def train_part(folder: Path) -> int:
    from carousel.data.corpus import prepare
    from carousel.data.split import contiguous

    return int(contiguous(prepare([folder / "song.txt"], cache=folder / "cache"))["train"][0, 1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tmp_path: Path, call: Call) -> None:
    before = contents(tmp_path)
    assert call("train", "song.txt", "--device", "cuda") == Result(
        2,
        "",
        "carousel train: --device cuda: this torch sees no CUDA device; --device cpu works\n",
    )
    assert contents(tmp_path) == before


def test_a_command_that_is_not_there(call: Call) -> None:
    known = "prepare, train, sample, eval, serve, forecast, verify, kernels, bench, tales"
    assert call("trian") == Result(2, "", f"carousel: no command 'trian'; there are {known}\n")


def test_no_command_is_wrong_usage_and_shows_the_help(call: Call) -> None:
    nothing, asked = call(), call("--help")
    assert nothing == Result(2, "", asked.out)
    assert (asked.code, asked.err) == (0, "")


def test_folders_that_were_made_on_the_way_are_taken_away(tmp_path: Path, call: Call) -> None:
    before = contents(tmp_path)
    assert call("train", "short.txt", "--out", "a/b/c").code == 1
    assert contents(tmp_path) == before
    (tmp_path / "a").mkdir()
    assert call("train", "short.txt", "--out", "a/b/c").code == 1
    assert contents(tmp_path) == before | {"a"}


def test_a_run_that_is_there_already_is_left_alone(tmp_path: Path, call: Call) -> None:
    assert call("train", "song.txt", "--out", "run", *TINY, "--steps", "1").code == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    again = call("train", "song.txt", "--out", "run", *TINY, "--steps", "1")
    message = "run already holds a run: --resume continues it, another --out starts anew"
    assert again == Result(1, "", f"carousel train: {message}\n")
    other = call(
        "train", "song.txt", "--out", "run", *TINY, "--steps", "1", "--seed", "3", "--resume"
    )
    message = (
        "the run was started with seed = 0, this command says 3; resume with the same settings"
    )
    assert other.err.startswith(f"carousel train: {message}")
    assert (other.code, other.err.count("\n")) == (1, 1)
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_before_the_first_step(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """While the speed is measured, say."""

    def measure(trainer: object) -> float:
        os.kill(os.getpid(), number)
        return 0.1

    monkeypatch.setattr(prepared_run, "seconds_per_step", measure)
    before, handler = contents(tmp_path), signal.getsignal(number)
    result = call("train", "song.txt", "--out", "run", *TINY)
    assert (result.code, result.out) == (code, "")
    assert result.err.endswith("interrupted: before the first step; nothing to save\n")
    assert contents(tmp_path) == before
    assert signal.getsignal(number) is handler


def test_a_loss_that_is_not_finite_says_what_to_change(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carousel.models.language_model import CharacterModel

    real, steps = CharacterModel.forward, 0

    def forward(model: torch.nn.Module, *arguments: torch.Tensor) -> object:
        nonlocal steps
        logits, state = real(model, *arguments)
        steps += model.training
        return logits * float("nan" if steps > 30 else "1"), state

    monkeypatch.setattr(CharacterModel, "forward", forward)
    result = call("train", "song.txt", "--out", "run", *TINY, "--steps", "50", "--eval-every", "10")
    assert (result.code, result.out) == (1, "")
    last = result.err.splitlines()[-1]
    assert last.startswith("carousel train: step 2")
    assert "the last good state is kept in run: go on with --init-from run" in last
    assert int(Path("run/last").read_text()) == int(last.split()[3].rstrip(":")) - 1


def test_a_command_that_is_interrupted_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("carousel.cli.verify.main", interrupted)
    assert call("verify") == Result(130, "", "carousel verify: interrupted\n")
