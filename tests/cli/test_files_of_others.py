"""Files that a command is given or finds: pipes, devices, damaged weights, old locks."""

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch

from carousel.cli import train_run
from carousel.data import corpus as corpus_module
from carousel.json_text import dump_json
from carousel.models.checkpoint import MANIFEST, read_checkpoint, to_json, write_checkpoint
from cli.commands import TEXT, TINY, Call, Result, caller, environment
from conftest import ROOT

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    monkeypatch.setattr(train_run, "sum_up", lambda *arguments: None)
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be copied."""
    cwd = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setenv("CAROUSEL_CACHE", str(cwd / "cache"))
        patch.setattr(train_run, "sum_up", lambda *arguments: None)
        Path("song.txt").write_text(TEXT)
        from carousel.cli.main import run

        assert run(["train", "song.txt", "--out", "run", *TINY, "--steps", "4"]) == 0
    return cwd / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run", symlinks=True))


def with_files(run: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Publish a copy of a run's best checkpoint with other files; return its folder."""
    best = run / "checkpoints" / (run / "best").read_text().strip()
    files = {name: data for name, data in read_checkpoint(best).items() if name != MANIFEST}
    change(files)
    write_checkpoint(run.parent / "changed", files)
    return run.parent / "changed"


def with_weights(run: Path, value: float) -> Path:
    def change(files: dict[str, bytes]) -> None:
        weights = safetensors.torch.load(files["model.safetensors"])
        weights["output.bias"].fill_(value)
        files["model.safetensors"] = safetensors.torch.save(weights)

    return with_files(run, change)


def with_config(run: Path, change: Callable[[dict[str, object]], object]) -> Path:
    def apply(files: dict[str, bytes]) -> None:
        config = json.loads(files["config.json"])
        change(config)
        files["config.json"] = to_json(config)

    return with_files(run, apply)


def one_line(result: Result, code: int = 1) -> str:
    assert (result.code, result.out) == (code, ""), result
    (line,) = result.err.splitlines()
    return line


# Weights that are no numbers, and JSON that always is JSON.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_weights_that_are_not_finite_end_an_evaluation_in_one_line(
    value: float, flags: list[str], run: Path, call: Call
) -> None:
    changed = with_weights(run, value)
    (run.parent / "other.txt").write_text("the king sang to the moon")
    line = one_line(call("eval", str(changed), "other.txt", *flags))
    assert line.startswith(f"carousel eval: {changed} predicts nothing: the loss on other.txt is ")


def test_a_huge_loss_is_still_json(run: Path, call: Call) -> None:
    def change(files: dict[str, bytes]) -> None:
        weights = safetensors.torch.load(files["model.safetensors"])
        weights["output.bias"][0] = 3e38
        files["model.safetensors"] = safetensors.torch.save(weights)

    result = call("eval", str(with_files(run, change)), "song.txt", "--json")
    assert result.code in (0, 1)
    if result.code == 0:
        json.loads(result.out, parse_constant=pytest.fail)


def test_numbers_that_json_has_not_become_null() -> None:
    nan, inf = float("nan"), float("inf")
    value = {"a": nan, "b": [inf, (-inf, 1.5)], "c": {"d": None, "e": True, "f": "NaN"}}
    assert json.loads(dump_json(value), parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, [None, 1.5]],
        "c": {"d": None, "e": True, "f": "NaN"},
    }


def test_no_command_writes_json_in_another_way() -> None:
    writers = {
        path.name
        for path in (ROOT / "src/carousel/cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps")
    }
    assert writers == set()


# A model that does not say on which text it was trained.


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("corpus"),
        lambda config: config.update(corpus=7),
        lambda config: config["corpus"].pop("sha256"),
        lambda config: config["corpus"].pop("name"),
        lambda config: config["corpus"].update(parts="all"),
        lambda config: config.pop("settings"),
    ],
)
def test_a_model_without_a_text_is_judged_on_the_one_that_is_named(
    change: Callable[[dict[str, object]], object], run: Path, call: Call
) -> None:
    changed = with_config(run, change)
    line = one_line(call("eval", str(changed)))
    assert line.endswith("does not say on which text it was trained: name one")
    assert call("eval", str(changed), "song.txt", "--json").code == 0
    line = one_line(call("eval", str(changed), "song.txt", "--part", "test"))
    assert "does not say how the text that it was trained on was split" in line


@posix
def test_an_index_that_a_checkpoint_names_is_no_device(run: Path, call: Call) -> None:
    os.mkfifo(run.parent / "pipe")
    for k, path in enumerate(("/dev/zero", str(run.parent / "pipe"))):
        config = with_config(
            run, lambda config, path=path: config["settings"]["data"].update(index=path)
        )
        config = config.rename(run.parent / f"changed-{k}")
        line = one_line(call("eval", str(config), "song.txt", "--part", "test"))
        assert f"no index of books at {path} any more" in line


# What a user names may be a pipe, and never a device.


@posix
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("train", "song.txt", "--config", "{}"), 2),
        (("train", "song.txt", "--index", "{}", "--split", "books"), 1),
        (("sample", "run", "--prompt-file", "{}"), 1),
        (("forecast", "{}"), 1),
        (("serve", "run", "--token-file", "{}"), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_device_is_refused_in_one_line(
    arguments: tuple[str, ...], code: int, run: Path, call: Call
) -> None:
    (run.parent / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", "link"):
        result = call(*(argument.replace("{}", path) for argument in arguments))
        assert f"{path} is a device: name a file or a pipe" in one_line(result, code)


@posix
def test_settings_and_prompts_come_through_pipes(run: Path, call: Call) -> None:
    def feed(name: str, data: str) -> None:
        def write() -> None:
            with suppress(BrokenPipeError):
                (run.parent / name).write_text(data)

        os.mkfifo(run.parent / name)
        threading.Thread(target=write, daemon=True).start()

    feed("toml", "[training]\nsteps = 2\n")
    assert call("train", "song.txt", "--config", "toml", "--out", "piped", *TINY).code == 0
    feed("prompt", "the king")
    result = call("sample", "run", "--prompt-file", "prompt", "--length", "3")
    assert result.out.startswith("the king")
    table = "n\n" + "\n".join(str(k % 7) for k in range(9))
    (run.parent / "saved").write_text(table)
    feed("table", table)
    assert one_line(call("forecast", "table")) == one_line(call("forecast", "saved")).replace(
        "saved", "table"
    )
    feed("settings", "x = 1\n" * 200_000)
    line = one_line(call("train", "song.txt", "--config", "settings"), 2)
    assert "settings is larger than 64 KiB" in line


@posix
def test_a_link_to_a_device_in_a_run_ends_no_command(run: Path, call: Call) -> None:
    for name in ("best", "last", "metrics.jsonl"):
        (run / name).unlink()
        (run / name).symlink_to("/dev/zero")
    result = call("train", "song.txt", "--out", "run", "--resume", *TINY, "--steps", "4")
    assert "metrics.jsonl is a symbolic link" in one_line(result)
    assert "no run with a checkpoint" in one_line(call("sample", "run"))


# A lock that was left alone.


def lone_lock(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "lock").write_text(content)


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@posix
def test_the_lock_of_a_start_that_was_undone_and_killed_is_no_obstacle(
    tmp_path: Path, call: Call
) -> None:
    lone_lock(tmp_path / "left", str(ended_process()))
    assert call("train", "song.txt", "--out", "left", *TINY, "--steps", "2").code == 0
    assert (tmp_path / "left" / "carousel-run.json").exists()


@posix
@pytest.mark.parametrize("content", ["", "my notes", "{alive}", "9" * 20, "-5", "0"])
def test_a_lock_of_anything_else_is_refused(content: str, tmp_path: Path, call: Call) -> None:
    lone_lock(tmp_path / "theirs", content.format(alive=os.getpid()))
    before = (tmp_path / "theirs" / "lock").read_bytes()
    line = one_line(call("train", "song.txt", "--out", "theirs", *TINY, "--steps", "2"))
    assert "holds no run" in line
    assert (tmp_path / "theirs" / "lock").read_bytes() == before
    lone_lock(tmp_path / "more", str(ended_process()))
    (tmp_path / "more" / "letter.txt").write_text("theirs")
    line = one_line(call("train", "song.txt", "--out", "more", *TINY, "--steps", "2"))
    assert "holds no run" in line


# The cache of texts.


CUT = """
import os, sys
from pathlib import Path
from carousel.data.batches import RandomWindows
from carousel.data.corpus import prepare
corpus = prepare([Path("song.txt")])
windows = RandomWindows(corpus.ids[: len(corpus) // 2], 2, 4, 0)
windows.batch(0)
os.truncate(corpus.folder / "ids.bin", 0)
windows.batch(1)
"""


def test_a_text_that_is_cut_short_while_it_is_mapped_is_an_error(
    call: Call, tmp_path: Path
) -> None:
    """Without the check the process is ended by SIGBUS, with nothing said."""
    ended = subprocess.run(
        [sys.executable, "-c", CUT],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert "ids.bin was cut short while it was in use: run the command again" in last


@posix
def test_a_cache_that_everybody_can_write_is_used_with_a_warning(
    tmp_path: Path, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    corpus_module._warn_of_others.cache_clear()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    for _ in range(2):
        assert call("prepare", "song.txt", "--cache-dir", "shared").code == 0
    said = [record.message for record in caplog.records]
    assert said == [
        "shared can be written by everybody: whoever can write there can change the texts that it "
        "keeps"
    ]


@posix
@pytest.mark.parametrize("name", ["corpus.json", "vocabulary.json", "ids.bin", "borders.bin"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_prepared_text_with_a_pipe_in_it_does_not_wait(
    name: str, kind: str, tmp_path: Path, call: Call
) -> None:
    found = json.loads(call("prepare", "song.txt", "--json").out)
    path = Path(found["folder"]) / name
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    call("prepare", "--list")
    line = one_line(call("prepare", "song.txt", "--json"))
    assert "is in the way" in line
