"""`carousel eval`: the figures are those of evaluate(), and go to stdout alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from carousel.models.checkpoint import load_model
from carousel.models.evaluation import evaluate
from carousel.models.loss import bits_per_character, perplexity
from carousel.training import text_source
from cli.commands import TEXT, TINY, Call, caller


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def run(call: Call) -> Path:
    assert call("train", "song.txt", "--out", "run", *TINY, "--steps", "12").code == 0
    return Path("run")


def figures(run: Path, text: str, **lanes: int) -> dict[str, Any]:
    loaded = load_model(run)
    loss = evaluate(loaded.model, loaded.vocabulary.encode(text), **lanes)
    assert loss is not None
    return {
        "nats_per_character": loss,
        "bits_per_character": bits_per_character(loss),
        "perplexity": perplexity(loss),
        "characters": len(text) - 1,
    }


def test_figures_are_those_of_evaluate(run: Path, call: Call, tmp_path: Path) -> None:
    held_out = "the queen gave the moon a golden owl.\n" * 5
    (tmp_path / "other.txt").write_text(held_out)
    result = call("eval", "run", "other.txt", "--json")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == figures(run, held_out)
    lanes = call("eval", "run", "other.txt", "--json", "--lanes", "3")
    assert json.loads(lanes.out) == figures(run, held_out, lanes=3) != figures(run, held_out)
    table = call("eval", "run", "other.txt")
    nats = figures(run, held_out)["nats_per_character"]
    assert table.out.splitlines()[0].split() == ["nats", "per", "character", f"{nats:.4f}"]
    assert table.out.splitlines()[-1].split() == ["characters", f"{len(held_out) - 1}"]
    several = call("eval", "run", "other.txt", "other.txt", "--json")
    assert json.loads(several.out) == figures(run, held_out + "\n" + held_out)


def test_parts_of_the_text_that_it_was_trained_on(run: Path, call: Call) -> None:
    sizes = load_model(run).config["corpus"]["parts"]
    start = 0
    for name, size in sizes.items():
        result = call("eval", "run", "song.txt", "--json", "--part", name)
        assert (result.code, result.err) == (0, "")
        assert json.loads(result.out) == figures(run, TEXT[start : start + size])
        start += size
    assert start == len(TEXT)
    whole = call("eval", "run", "song.txt", "--json")
    assert json.loads(whole.out) == figures(run, TEXT)
    assert whole.err == (
        "note: the model was trained on most of this text; "
        "--part validation or --part test was held out\n"
    )


def test_the_best_validation_loss_comes_out_again(run: Path, call: Call) -> None:
    best = load_model(run).config["progress"]["best_loss"]
    result = call("eval", "run", "song.txt", "--json", "--part", "validation")
    assert json.loads(result.out)["nats_per_character"] == pytest.approx(best, rel=1e-6)


def test_a_checkpoint_can_be_named(run: Path, call: Call) -> None:
    result = call("eval", "run/checkpoints/00000012", "song.txt", "--json")
    assert json.loads(result.out) == figures(run, TEXT)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "RUN is missing: Folder of a run"),
        (["nowhere", "song.txt"], 1, "no such run: nowhere"),
        (["run"], 1, "run was trained on a text of its own: name one to evaluate on"),
        (["run", "nowhere.txt"], 1, "no such file: nowhere.txt"),
        (
            ["run", "unknown.txt"],
            1,
            "the model does not know 'ß' (U+00DF), at position 6 of unknown.txt",
        ),
        (
            ["run", "unknown.txt", "--part", "test"],
            1,
            "--part test is of the text that the model was",
        ),
        (["run", "one.txt"], 1, "one.txt has 1 characters; it takes 2 to predict one"),
        (["run", "song.txt", "--lanes", "0"], 2, "--lanes must be at least 1, got 0"),
        (["run", "song.txt", "--part", "tset"], 2, "invalid choice 'tset' for argument '--part'"),
        (["run", "a", "text", "--json", "two", "words"], 2, "Unrecognized options: two, words; a "),
        (["run", "song.txt", "--jsn"], 2, "Unrecognized options: --jsn; perhaps you meant --json"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, run: Path, call: Call, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "unknown.txt").write_text("the roß sang\n", encoding="utf-8")
    (tmp_path / "one.txt").write_text("t")
    result = call("eval", *arguments)
    assert result.err.startswith(f"carousel eval: {message}"), result.err
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)


def test_a_part_that_the_split_has_not(call: Call) -> None:
    call("train", "song.txt", "--out", "two", *TINY, "--steps", "1", "--split", "exact")
    result = call("eval", "two", "song.txt", "--part", "test")
    message = "the run's split has no test part; it has ['train', 'validation']"
    assert result == (1, "", f"carousel eval: {message}\n")


@pytest.mark.parametrize(
    ("choice", "altered", "note"),
    [
        ("skip", "the ro sang  away\n", "they are left out"),
        ("replace", "the ro  sang    away\n", "they are replaced by ' '"),
    ],
)
def test_unknown_characters_are_left_out_or_replaced_where_asked(
    tmp_path: Path, run: Path, call: Call, choice: str, altered: str, note: str
) -> None:
    (tmp_path / "unknown.txt").write_text("the roß sang éé away\n", encoding="utf-8")
    result = call("eval", "run", "unknown.txt", "--json", "--on-unknown", choice)
    message = f"note: the model does not know 3 of the 21 characters; {note}\n"
    assert (result.code, result.err) == (0, message)
    assert json.loads(result.out) == figures(run, altered)
    known = call("eval", "run", "song.txt", "--json", "--on-unknown", choice, "--part", "test")
    assert (known.code, known.err) == (0, "")


def test_the_first_unknown_character_is_named_where_nothing_can_replace_it(
    tmp_path: Path, call: Call
) -> None:
    (tmp_path / "letters.txt").write_text("abcdefgh\n" * 60)
    (tmp_path / "other.txt").write_text("abcZAab", encoding="utf-8")
    assert call("train", "letters.txt", "--out", "run", *TINY, "--steps", "1").code == 0
    failed = call("eval", "run", "other.txt", "--on-unknown", "replace")
    assert failed == (
        1,
        "",
        "carousel eval: the model does not know 'Z' (U+005A), at position 3 of other.txt, "
        "nor U+FFFD, '?' or ' ', which could replace it\n",
    )
    skipped = call("eval", "run", "other.txt", "--on-unknown", "skip", "--json")
    assert json.loads(skipped.out) == figures(Path("run"), "abcab")


def test_tales_come_with_the_best_possible_loss(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_source, "TALES_CHARACTERS", 60_000)
    assert call("train", "--out", "tales", *TINY, "--steps", "2").code == 0
    part = json.loads(call("eval", "tales", "--part", "validation", "--json", "--lanes", "8").out)
    assert 0.1 < part["best_possible_nats_per_character"] < 1 < part["nats_per_character"]
