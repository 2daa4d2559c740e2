"""Splits through the commands: drawn, recorded, made again by resume and eval, and warned about."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carousel.cli import train_run
from carousel.cli.text_source import warn_of_repeated
from carousel.data.corpus import prepare
from carousel.data.duplicates import Repeated
from carousel.data.range_view import part
from carousel.data.split import books, documents, sha256
from carousel.models.checkpoint import load_model
from carousel.models.evaluation import evaluate
from carousel.tales import floor, tell
from carousel.training import text_source
from carousel.training.run_folder import read_metrics
from cli.commands import TINY, Call, caller
from conftest import CORPORA

STORIES = CORPORA / "children_stories"
TALES = [
    f"TALE {k}.{j}\n"
    + "\n".join(f"the {who} of {k} sang to {j}" for who in ("owl", "frog", "moon"))
    for k in range(12)
    for j in range(3)
]
BOOKS = ["\n\n".join(TALES[k : k + 3]) for k in range(0, len(TALES), 3)]
TEXT = "".join(f"{book}\n\n" for book in BOOKS)
STARTS = [sum(len(book) + 2 for book in BOOKS[:k]) for k in range(len(BOOKS))]
HEADER = "title\toffset_chars\tlength_chars"
INDEX = [f"book {k}\t{STARTS[k]}\t{len(book)}" for k, book in enumerate(BOOKS)]
STEPS = ("--steps", "6", "--eval-every", "3", "--save-every", "3")
BY_BOOKS = ("--split", "books", "--index", "index.tsv", "--split-seed", "5")
BY_DOCUMENTS = ("--split", "documents", "--split-seed", "5")


@pytest.fixture
def full_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    (tmp_path / "tales.txt").write_text(TEXT)
    write_index(tmp_path / "index.tsv", INDEX)
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def call(full_call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Commands without the curve and the sample at the end of a run, which take the longest."""
    monkeypatch.setattr(train_run, "sum_up", lambda *arguments: None)
    return full_call


def write_index(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join([HEADER, *rows, ""]))


def config(run: str) -> dict[str, Any]:
    return load_model(Path(run)).config


def test_a_run_records_its_parts(call: Call, tmp_path: Path) -> None:
    corpus = prepare([tmp_path / "tales.txt"], cache=tmp_path / "own")
    for name, flags, parts in (
        ("documents", BY_DOCUMENTS, documents(corpus, seed=5)),
        ("books", BY_BOOKS, books(corpus, tmp_path / "index.tsv", seed=5)),
    ):
        result = call("train", "tales.txt", "--out", name, *TINY, *STEPS, *flags)
        assert result.code == 0, result.err
        about = config(name)["corpus"]
        sizes = {k: int(np.diff(ranges).sum()) for k, ranges in parts.items()}
        assert about["parts"] == sizes
        assert about["split_sha256"] == sha256(parts)
        assert about["repeated"] == {}
        assert about["opening"] == "TALE 0.0"
        assert "warning" not in result.err
        shown = ", ".join(f"{size:,} {k}" for k, size in sizes.items())
        assert re.search(rf"^split +{shown}$", result.err, re.MULTILINE)


@pytest.mark.parametrize("flags", [BY_DOCUMENTS, BY_BOOKS], ids=["documents", "books"])
@pytest.mark.parametrize("batching", ["lanes", "windows"])
def test_a_stopped_run_goes_on_to_the_bits_of_the_uninterrupted_one(
    call: Call, tmp_path: Path, flags: tuple[str, ...], batching: str
) -> None:
    settings = ("tales.txt", *TINY, *STEPS, "--schedule", "constant", "--batching", batching)
    assert call("train", *settings, *flags, "--out", "whole").code == 0
    first = call("train", *settings, *flags, "--out", "parted", "--steps", "3")
    assert first.code == 0, first.err
    second = call("train", *settings, *flags, "--out", "parted", "--resume")
    assert "resuming parted from step 3" in second.err, second.err
    weights = [
        (tmp_path / run / "checkpoints" / "00000006" / "model.safetensors").read_bytes()
        for run in ("whole", "parted")
    ]
    assert weights[0] == weights[1]
    assert read_metrics(tmp_path / "whole") == read_metrics(tmp_path / "parted")


@pytest.mark.parametrize("flags", [BY_DOCUMENTS, BY_BOOKS], ids=["documents", "books"])
def test_every_part_can_be_judged_again(call: Call, tmp_path: Path, flags: tuple[str, ...]) -> None:
    call("train", "tales.txt", "--out", "run", *TINY, *STEPS, *flags)
    corpus = prepare([tmp_path / "tales.txt"], cache=tmp_path / "own")
    index = tmp_path / "index.tsv"
    parts = books(corpus, index, seed=5) if flags == BY_BOOKS else documents(corpus, seed=5)
    for name, ranges in parts.items():
        result = call("eval", "run", "tales.txt", "--part", name, "--json")
        assert (result.code, result.err) == (0, "")
        joined = part(corpus.ids, ranges)[:]
        assert json.loads(result.out)["nats_per_character"] == evaluate(
            load_model(Path("run")).model, joined
        )
        assert json.loads(result.out)["characters"] == len(joined) - 1
    best = config("run")["progress"]["best_loss"]
    judged = json.loads(call("eval", "run", "tales.txt", "--part", "validation", "--json").out)
    assert judged["nats_per_character"] == pytest.approx(best, rel=1e-6)


def test_an_index_may_move_but_not_change(call: Call, tmp_path: Path) -> None:
    flags = ("tales.txt", "--out", "run", *TINY, *STEPS, *BY_BOOKS)
    assert call("train", *flags, "--steps", "3").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    fewer = [*INDEX[:4], f"both\t{STARTS[4]}\t{STARTS[6] - STARTS[4]}", *INDEX[6:]]
    write_index(tmp_path / "other.tsv", fewer)
    (tmp_path / "index.tsv").rename(tmp_path / "moved.tsv")

    gone = call("eval", "run", "tales.txt", "--part", "test")
    where = "no index of books at index.tsv any more: --index says where it is"
    assert gone == (1, "", f"carousel eval: {where}\n")
    moved = call("eval", "run", "tales.txt", "--part", "test", "--index", "moved.tsv")
    assert (moved.code, moved.err) == (0, "")
    other = call("eval", "run", "tales.txt", "--part", "test", "--index", "other.tsv")
    assert other == (
        1,
        "",
        "carousel eval: the parts of tales.txt are not those that the model was trained and "
        "judged on: other.tsv is not the index of then\n",
    )

    resumed = call("train", *flags, "--resume", "--index", "other.tsv")
    assert resumed == (
        1,
        "",
        "carousel train: the run was started on other parts of this text, so the index of its "
        "books is not what it was; resume with the one of then, or start anew with --init-from\n",
    )
    assert {path: path.read_bytes() for path in before} == before
    resumed = call("train", *flags, "--resume", "--index", "moved.tsv")
    assert resumed.code == 0, resumed.err
    assert call("eval", "run", "tales.txt", "--part", "test").code == 0


def test_another_split_of_the_same_text_is_refused_by_name(call: Call) -> None:
    call("train", "tales.txt", "--out", "run", *TINY, *STEPS, *BY_DOCUMENTS)
    result = call(
        "train", "tales.txt", "--out", "run", *TINY, *STEPS, "--split", "documents", "--resume"
    )
    assert "the run was started with split_seed = 5, this command says 0" in result.err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--split", "books"), 2, "--split books needs --index, a file that says where each book"),
        (("--index", "index.tsv"), 2, "--index is for --split books, and the split is contiguous"),
        (("--split", "story"), 2, "invalid choice 'story' for argument '--split'"),
        (
            ("--split-seed", "-1"),
            2,
            "split_seed must be a whole number, at least 0, at most 2^64 - 1, got -1",
        ),
        (("--split", "books", "--index", "nowhere.tsv"), 1, "no such file: nowhere.tsv"),
        (
            ("--split", "books", "--index", "wrong.tsv"),
            1,
            "line 3 of wrong.tsv does not fit tales.txt: before its book, at ",
        ),
    ],
)
def test_a_mistake_is_one_line(
    call: Call, tmp_path: Path, flags: tuple[str, ...], code: int, message: str
) -> None:
    write_index(tmp_path / "wrong.tsv", [INDEX[0], *INDEX[2:]])
    result = call("train", "tales.txt", "--out", "run", *TINY, *flags)
    assert result.err.startswith(f"carousel train: {message}"), result.err
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert not (tmp_path / "run").exists()


def test_flags_and_files_may_each_give_half(call: Call, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[data]\nsplit = 'books'\n")
    flags = ("--config", "my.toml", "--index", "index.tsv", "--steps", "1")
    result = call("train", "tales.txt", "--out", "run", *TINY, *flags)
    assert result.code == 0, result.err
    assert config("run")["data"]["split"] == "books"


def test_documents_that_stand_in_two_parts_are_warned_about(call: Call, tmp_path: Path) -> None:
    text = "\n\n".join([*TALES, "THE END", TALES[3], TALES[20], "THE END"]) + "\n\n"
    (tmp_path / "twice.txt").write_text(text)
    flags = ("--split", "contiguous", "--fractions", "0.8,0.2", "--steps", "1")
    result = call("train", "twice.txt", "--out", "run", *TINY, *flags)
    assert result.code == 0, result.err
    about = config("run")["corpus"]
    held_out = text[about["parts"]["train"] :]
    assert held_out.count("TALE") == 7
    (warning,) = (line for line in result.err.splitlines() if line.startswith("warning"))
    size = len(TALES[3]) + len(TALES[20])
    assert warning == (
        f"warning: 2 of 7 validation documents ({size} characters) also stand in the train part; "
        f"the first: 'TALE 1.0' at {text.rindex('TALE 1.0'):,} and at {text.index('TALE 1.0'):,}"
    )
    assert about["repeated"] == {"validation": {"documents": 2, "characters": size}}


def test_the_warning_is_one_line_however_many_parts(capfd: pytest.CaptureFixture[str]) -> None:
    validation = Repeated("validation", ("train",), 1, 1200, 45, "x" * 60, 12_345, 6)
    test = Repeated("test", ("train", "validation"), 2, 3, 6_789, "y", 7, 8)
    warn_of_repeated([validation, test])
    warn_of_repeated([])
    assert capfd.readouterr() == (
        "",
        "warning: 1 of 1,200 validation documents (45 characters) also stands in the train part, "
        "2 of 3 test documents (6,789 characters) also stand in the train or validation part; "
        f"the first: '{'x' * 39}…' at 12,345 and at 6\n",
    )


@pytest.mark.parametrize("split", ["documents", "contiguous"])
def test_the_floor_of_tales_is_that_of_their_part(
    full_call: Call, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    monkeypatch.setattr(text_source, "TALES_CHARACTERS", 60_000)
    result = full_call("train", "--out", "run", *TINY, "--steps", "2", "--split", split)
    assert result.code == 0, result.err
    tales = tell(0, 60_000)
    corpus = text_source.open_source(()).corpus
    ranges = documents(corpus)["validation"]
    if split == "documents":
        assert len(ranges) > 1
        number = tales.borders.index
        nats = sum(sum(tales.nlls[number(start) : number(stop)]) for start, stop in ranges.tolist())
        expected = nats / int(np.diff(ranges).sum())
    else:
        sizes = config("run")["corpus"]["parts"]
        expected = floor(tales, sizes["train"], sizes["train"] + sizes["validation"])
    assert re.search(rf"^floor +{expected:.4f} nats", result.err, re.MULTILINE), result.err
    judged = json.loads(full_call("eval", "run", "--part", "validation", "--json").out)
    assert judged["best_possible_nats_per_character"] == pytest.approx(expected, rel=1e-12)


def test_half_a_tale_has_no_floor(full_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "TALES_CHARACTERS", 60_000)
    result = full_call("train", "--out", "run", *TINY, "--steps", "1", "--split", "exact")
    assert "floor" not in result.err
    judged = json.loads(full_call("eval", "run", "--part", "validation", "--json").out)
    assert "best_possible_nats_per_character" not in judged


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the optional folder of corpora is absent")
def test_the_stories_can_be_parted_by_their_books(call: Call) -> None:
    stories, index = str(STORIES / "stories.txt"), str(STORIES / "stories.index.tsv")
    flags = ("--split", "books", "--index", index, "--fractions", "0.998,0.001,0.001")
    result = call("train", stories, "--out", "run", *TINY, "--steps", "2", *flags)
    assert result.code == 0, result.err
    sizes = config("run")["corpus"]["parts"]
    assert sum(sizes.values()) == 23_131_200
    judged = call("eval", "run", stories, "--part", "test", "--lanes", "16", "--json")
    assert json.loads(judged.out)["characters"] == sizes["test"] - 1
