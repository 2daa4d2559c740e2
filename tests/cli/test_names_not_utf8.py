"""Names that are not UTF-8 open files by their bytes; they are stored and shown with U+FFFD."""

import json
import os
import re
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from carousel.cli.console import shell_word
from carousel.cli.runs import find_run
from carousel.data.corpus import name_of, prepare
from carousel.models.checkpoint import load_model, to_json
from carousel.plain_paths import readable
from carousel.tales import tell
from cli.commands import TEXT, TINY, Call, caller, ended, started
from cli.test_parts import BOOKS, HEADER, INDEX
from cli.test_parts import TEXT as TEXT_OF_BOOKS
from generation.saved_model import save_run

NAME = os.fsdecode(b"caf\xe9")
SHOWN = "caf\N{REPLACEMENT CHARACTER}"
STEPS = ("--steps", "4", "--save-every", "2", "--eval-every", "2")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    ours = caller(tmp_path, monkeypatch, capfd)
    try:
        Path(f"{NAME}.txt").write_text(TEXT, encoding="utf-8")
    except (OSError, UnicodeError):
        pytest.skip("this file system refuses names that are not UTF-8")
    return ours


def config(run: str) -> dict[str, dict[str, object]]:
    data = (Path(run) / "checkpoints/00000004/config.json").read_bytes()
    found: dict[str, dict[str, object]] = json.loads(data.decode("utf-8"))
    return found


def test_a_run_is_kept_resumed_judged_and_sampled(call: Call) -> None:
    """A text, a run folder, a prompt file, a cache and a config file of such names."""
    Path(f"{NAME}.toml").write_text("[training]\nseed = 3\n")
    text, run = f"{NAME}.txt", f"run {NAME}"
    asked = (
        *("train", text, *TINY, "--out", run),
        *("--config", f"{NAME}.toml", "--cache-dir", f"cache {NAME}"),
    )
    first = call(*asked, "--steps", "4", "--save-every", "2", "--eval-every", "2")
    assert first.code == 0, first.err
    assert f"\nrun      run {SHOWN}\n" in first.err
    assert f"text     {SHOWN}.txt: " in first.err
    assert f"carousel sample {shell_word(run)}" in first.err.replace("python -m ", "")
    assert config(run)["corpus"]["name"] == f"{SHOWN}.txt"
    again = call(*asked, "--steps", "6", "--save-every", "2", "--eval-every", "2", "--resume")
    assert again.code == 0, again.err
    assert f"resuming run {SHOWN} from step 4" in again.err
    assert (Path(run) / "last").read_text() == "00000006\n"
    for flags in ((), ("--part", "test"), ("--json",)):
        assert call("eval", run, text, *flags).code == 0
    Path(f"prompt {NAME}").write_text("the king")
    sample = call("sample", run, "--prompt-file", f"prompt {NAME}", "--length", "5")
    assert (sample.code, sample.out[:8]) == (0, "the king")
    other = call("train", text, *TINY, *STEPS, "--init-from", run, "--out", f"next {NAME}")
    assert other.code == 0, other.err
    assert f"starting from run {SHOWN}/" in other.err


def test_a_run_without_a_name_of_its_own_is_named_in_utf8(call: Call) -> None:
    assert call("train", f"{NAME}.txt", *TINY, *STEPS).code == 0
    assert [path.name for path in Path("runs").iterdir()] == [SHOWN]
    again = call("train", f"{NAME}.txt", *TINY, *STEPS, "--steps", "6", "--resume")
    assert again.code == 0, again.err
    assert f"resuming runs/{SHOWN} from step 4" in again.err


def test_a_folder_of_texts(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(f"folder {NAME}")
    folder.mkdir()
    (folder / f"{NAME}.txt").write_text(TEXT)
    assert call("train", str(folder), *TINY, *STEPS).code == 0
    assert config(f"runs/folder {SHOWN}")["corpus"]["name"] == f"folder {SHOWN}"
    monkeypatch.chdir(folder)
    assert call("train", ".", *TINY, *STEPS).code == 0
    assert config(f"runs/folder {SHOWN}")["corpus"]["name"] == f"folder {SHOWN}"


def test_an_index_is_found_again(call: Call) -> None:
    """Its path is a setting of the run: eval opens what the run has noted."""
    Path("books.txt").write_text(TEXT_OF_BOOKS)
    assert len(BOOKS) == len(INDEX)
    Path(f"{NAME}.tsv").write_text("\n".join([HEADER, *INDEX, ""]))
    flags = ("--split", "books", "--index", f"{NAME}.tsv", "--out", "run")
    trained = call("train", "books.txt", *TINY, *STEPS, *flags)
    assert trained.code == 0, trained.err
    judged = call("eval", "run", "books.txt", "--part", "test")
    assert judged.code == 0, judged.err
    Path(f"{NAME}.tsv").unlink()
    assert call("eval", "run", "books.txt", "--part", "test").err.startswith(
        f"carousel eval: no index of books at {SHOWN}.tsv any more"
    )


def test_prepared_texts(call: Call) -> None:
    cache = ("--cache-dir", f"cache {NAME}")
    assert f"name        {SHOWN}.txt\n" in call("prepare", f"{NAME}.txt", *cache).out
    facts = json.loads(call("prepare", f"{NAME}.txt", *cache, "--json").out)
    assert (facts["name"], facts["from_cache"]) == (f"{SHOWN}.txt", True)
    assert facts["folder"].startswith(f"cache {SHOWN}")
    assert call("prepare", "--list", *cache).out.startswith(f"{SHOWN}.txt ")
    (row,) = json.loads(call("prepare", "--list", "--json", *cache).out)
    assert row["name"] == f"{SHOWN}.txt"
    assert facts["folder"] == row["folder"]
    out = call("prepare", "--clear", "--json", *cache).out
    assert json.loads(out)["removed"] == [row["folder"]]


def test_a_table(call: Call) -> None:
    lines = ["metres", *(str(k * k % 17) for k in range(90))]
    Path(f"{NAME}.csv").write_text("\n".join([*lines, ""]))
    flags = ("--epochs", "1", "--window", "4", "--hidden-size", "4")
    unnamed = call("forecast", f"{NAME}.csv", *flags)
    assert unnamed.code == 0, unnamed.err
    assert json.loads(Path(f"runs/{SHOWN}/forecast.json").read_bytes())["data"] == f"{SHOWN}.csv"
    named = call("forecast", f"{NAME}.csv", *flags, "--out", f"out {NAME}", "--json")
    assert named.code == 0, named.err
    assert json.loads(named.out)["data"] == f"{SHOWN}.csv"
    assert Path(f"out {NAME}", "forecast.png").is_file()


def test_tales(call: Call) -> None:
    assert call("tales", "--characters", "9", "--out", NAME).code == 0
    assert Path(NAME).read_text() == tell(0, 9).text
    again = call("tales", "--out", NAME)
    assert (again.code, again.err) == (
        1,
        f"carousel tales: {SHOWN} is there already; name another file\n",
    )


def test_a_served_run(call: Call, tmp_path: Path) -> None:
    save_run(tmp_path / NAME)
    Path(f"token {NAME}").write_text("secret-token")
    with started(tmp_path, "serve", NAME, "--port", "0") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(f"{SHOWN} at http://"), line
        url = re.findall(r"http://\S+/", line)[0]
        with urlopen(f"{url}v1/models", timeout=30) as answer:
            assert [model["id"] for model in json.load(answer)["data"]] == [SHOWN]
        process.terminate()
        assert "Traceback" not in ended(process).err
    two = Path("two", os.fsdecode(b"caf\xe8"))
    save_run(two)
    refused = call("serve", NAME, str(two), "--token-file", f"token {NAME}")
    assert refused.code == 2
    assert f"would both be called {SHOWN}" in refused.err


MISSING = f"missing {NAME}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", MISSING],
        ["train", "song.txt", "--config", MISSING],
        ["train", "song.txt", "--init-from", MISSING],
        ["train", "song.txt", "--out", f"{NAME}.txt"],
        ["prepare", MISSING],
        ["eval", MISSING, "song.txt"],
        ["eval", "story", MISSING],
        ["sample", MISSING],
        ["sample", "story", "--prompt-file", MISSING],
        ["serve", MISSING],
        ["serve", "story", "--token-file", MISSING],
        ["forecast", MISSING],
        ["forecast", f"{NAME}.txt", "--out", f"{NAME}.txt"],
        ["tales", "--out", f"{NAME}.txt"],
        ["bench", "--list", "--only", NAME],
        ["verify", "--family", NAME],
        ["train", f"--{NAME}"],
        [NAME],
    ],
    ids=lambda arguments: " ".join(map(readable, arguments)),
)
def test_a_message_is_one_line_of_utf8(call: Call, arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.code in (1, 2), result
    assert result.err.count("\n") == 1
    assert result.err.startswith("carousel")
    assert SHOWN in result.err or repr(NAME)[1:-1] in result.err
    result.err.encode("utf-8")


def test_names_in_python(call: Call, tmp_path: Path) -> None:
    """A corpus by its path, a checkpoint in such a folder, a table with half a pair in it."""
    corpus = prepare([Path(f"{NAME}.txt")], cache=tmp_path / f"cache {NAME}")
    assert corpus.name == name_of([Path(f"{NAME}.txt")]) == f"{SHOWN}.txt"
    assert np.array_equal(corpus.ids, prepare([Path("song.txt")], cache=tmp_path / "cache").ids)
    assert prepare([Path("song.txt")], cache=tmp_path, name=NAME).name == SHOWN
    run = save_run(tmp_path / NAME)
    assert load_model(find_run(Path(NAME))).folder == load_model(run).folder.relative_to(tmp_path)
    assert json.loads(to_json({"a": NAME}).decode("utf-8")) == {"a": NAME}
