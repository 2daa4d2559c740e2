"""`carousel train` from a text to a run folder, and what it says on the way."""

import json
import re
import shutil
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from carousel.cli import train_run
from carousel.cli.train import Train
from carousel.cli.train_report import advice, knows_by_heart
from carousel.data.vocabulary import Vocabulary
from carousel.kernels import fused
from carousel.models.checkpoint import load_model, read_checkpoint, resolve
from carousel.models.config import ModelConfig
from carousel.training.fit import Progress
from carousel.training.run_folder import read_metrics
from carousel.training.run_mark import write_mark
from cli.commands import TEXT, TINY, Call, caller, command

QUICK = (*TINY, "--steps", "4")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out curve and sample at the end, which take the longest."""
    monkeypatch.setattr(train_run, "sum_up", lambda *arguments: None)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in load_model(run).model.named_parameters()}


def test_a_text_becomes_a_run(tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_text(TEXT)
    arguments = (
        "--out",
        "run",
        *TINY,
        "--steps",
        "40",
        "--eval-every",
        "15",
        "--sample-every",
        "20",
    )
    result = command(tmp_path, "train", "song.txt", *arguments)
    assert result.code == 0, result.err

    # On disk.
    run = tmp_path / "run"
    checkpoint = {"config.json", "vocabulary.json", "model.safetensors", "manifest.json"}
    checkpoint |= {"trainer.json", "trainer.safetensors"}
    assert files(run) == {
        *("carousel-run.json", "best", "last", "lock", "metrics.jsonl", "loss.png", "loss.svg"),
        *("samples/00000020.txt", "samples/00000040.txt"),
        *(f"checkpoints/{step}/{name}" for step in ("00000030", "00000040") for name in checkpoint),
    }
    records = read_metrics(run)
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 41))
    assert [r["step"] for r in records if "validation_loss" in r] == [15, 30, 40]
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(run / "loss.svg").getroot().tag.endswith("svg")
    config = json.loads(read_checkpoint(resolve(run))["config.json"])
    assert config["corpus"]["name"] == "song.txt"
    assert config["training"]["batching"] == "lanes"  # decided
    assert config["settings"]["training"]["batching"] == "auto"  # as it was asked for

    # On stdout: the model's text and nothing else.
    alphabet = set(Vocabulary.from_text(TEXT).itos)
    assert set(result.out) <= alphabet
    words = "the king sang to the"  # as the text begins
    assert result.out.startswith(words)
    assert len(result.out) == len(words) + 501  # with the last line feed

    # On stderr: the plan, how it went, what to do next; and no escape codes, as it is no terminal.
    sizes = config["corpus"]["parts"]["train"]
    for pattern in (
        rf"^text +song\.txt: {len(TEXT):,} characters, {len(alphabet)} different$",
        rf"^split +{sizes:,} train, \d+ validation, \d+ test$",
        r"^model +lstm, .*: 1,\d\d\d parameters$",
        r"^steps +40 of 4 × 16 characters \(lanes\), muon 0\.05 and adamw 0\.016 linear;",
        r"an epoch is [\d,]+ characters$",
        r"^device +\w+, 1 thread, (float32|bf16)$",  # as the machine has it
        r"^time +about \d+ s \(\d\.\d\d\d s a step\)$",
        r"^step +15 +validation \d\.\d{4} nats \(\d\.\d{3} bits\)",
        r"finished: step 40, [\d,]+ characters/s, peak memory [\d,]+ MiB",
        r"^best +validation \d\.\d{4} nats .* perplexity \d+\.\d\d, at step 40$",
        r"^curve +run/loss\.png, run/loss\.svg$",
        r"^  .*carousel sample run",
    ):
        assert re.search(pattern, result.err, re.MULTILINE), pattern
    sample = (run / "samples" / "00000040.txt").read_text()
    first = next(line for line in sample.splitlines() if line.strip())
    assert f"    │ {first[:40]}" in result.err
    assert "\x1b" not in result.err + result.out


@pytest.mark.usefixtures("brief")
def test_runs_are_named_after_their_text(tmp_path: Path, call: Call) -> None:
    for name in ("song", "song-2"):
        assert call("train", "song.txt", *QUICK).code == 0
        assert (tmp_path / "runs" / name / "last").is_file()
    resumed = call("train", "song.txt", *TINY, "--steps", "6", "--resume")
    assert "resuming runs/song-2 from step 4\n" in resumed.err
    fewer = call("train", "song.txt", *TINY, "--steps", "5", "--resume")
    assert "none: the run stands at step 6; a larger --steps goes on" in fewer.err
    assert (tmp_path / "runs" / "song-2" / "last").read_text() == "00000006\n"


@pytest.mark.parametrize(
    ("progress", "known"),
    [
        (Progress(), False),
        (Progress(validated=300, loss=2.0, best_step=100, best_loss=1.6), True),
        (Progress(validated=300, loss=1.64, best_step=100, best_loss=1.6), False),  # by chance
        (Progress(validated=300, loss=2.0, best_step=200, best_loss=1.6), False),  # soon stopped
        (Progress(validated=300, loss=1.6, best_step=300, best_loss=1.6), False),
    ],
)
def test_who_learned_a_text_by_heart_long_before_the_end_is_told(
    progress: Progress, known: bool
) -> None:
    assert knows_by_heart(progress) is known


def test_the_advice_is_what_was_not_tried() -> None:
    plain = Train()
    assert advice(plain, 100) == (
        "after step 100 it learned its text by heart; "
        "try --init-from story if it is English or --dropout 0.4 or --steps 200"
    )
    tried = Train(init_from=Path("story"), model=ModelConfig(dropout=0.4))
    assert advice(tried, 25).endswith("by heart; try --steps 50")


@pytest.mark.usefixtures("brief")
def test_nothing_to_resume_is_a_warning(call: Call) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = call("train", "song.txt", "--out", "run", *QUICK, "--resume")
    assert result.code == 0
    assert result.err.startswith("warning: nothing to resume; starting at step 0\n")
    assert (Path("run") / "last").read_text() == "00000004\n"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.usefixtures("brief")
def test_a_damaged_checkpoint_is_passed_over_aloud(call: Call) -> None:
    call("train", "song.txt", "--out", "run", *TINY, "--steps", "6", "--save-every", "3")
    (Path("run") / "checkpoints" / "00000006" / "model.safetensors").write_bytes(b"damaged")
    again = ("train", "song.txt", "--out", "run", *TINY, "--steps", "6", "--save-every", "3")
    result = call(*again, "--resume")
    assert result.code == 0
    damaged = "run/checkpoints/00000006/model.safetensors is damaged: 7 bytes instead of "
    assert result.err.startswith(f"warning: {damaged}")
    assert "; falling back to step 3\nresuming run from step 3\n" in result.err


@pytest.mark.usefixtures("brief")
def test_weights_of_another_run_are_a_start(tmp_path: Path, call: Call) -> None:
    """Sizes come with them; the text may have other characters; --resume repeats the command."""
    call("train", "song.txt", "--out", "old", *QUICK)
    (tmp_path / "tale.txt").write_text(TEXT.upper() + TEXT)
    start = (
        *("train", "tale.txt", "--init-from", "old", "--batch-size", "4"),
        *("--learning-rate", "1e-9", "--muon-learning-rate", "1e-9"),
    )
    small = (*TINY[4:], "--steps", "1")
    result = call(*start, *small, "--out", "new")
    assert result.code == 0, result.err
    known, all_ = len(set(TEXT)), len(set(TEXT.upper() + TEXT))
    message = f"starting from old/checkpoints/00000004: {known} of {all_} characters are known\n"
    assert message in result.err
    torch.testing.assert_close(
        weights(Path("new"))["body.recurrence.weight_hh_l0"],
        weights(Path("old"))["body.recurrence.weight_hh_l0"],
        atol=1e-7,
        rtol=0,
    )
    resumed = call(*start, *small, "--out", "new", "--resume", "--steps", "2")
    assert "resuming new from step 1\n" in resumed.err
    assert "starting from" not in resumed.err
    assert resumed.code == 0
    other = call(*start, *small, "--out", "other", "--hidden-size", "13")
    assert (other.code, other.err.count("\n")) == (2, 1)
    sizes = "weight_ih_l0 is (48, 5) in old/checkpoints/00000004, (52, 5)"
    assert f"body.recurrence.{sizes}" in other.err


@pytest.mark.usefixtures("brief")
def test_samples_and_validations_do_not_change_what_is_learned(call: Call) -> None:
    drop = ("--dropout", "0.2", "--steps", "6")
    call("train", "song.txt", "--out", "a", *TINY, *drop)
    call(
        "train", "song.txt", "--out", "b", *TINY, *drop, "--sample-every", "1", "--save-every", "2"
    )
    a, b = weights(Path("a")), weights(Path("b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.usefixtures("brief")
def test_a_time_limit_shortens_the_run(call: Call) -> None:
    call("train", "song.txt", "--out", "run", *TINY, "--steps", "100000", "--time-limit", "0.3")
    steps = int((Path("run") / "last").read_text())
    assert 1 <= steps < 5000
    config = load_model(Path("run")).config
    assert config["training"]["steps"] < 5000
    assert config["settings"]["training"]["steps"] == 100_000


def test_names_with_brackets_and_spaces_are_shown_as_they_are(tmp_path: Path, call: Call) -> None:
    """Square brackets are markup to the library that prints."""
    name = "my [bold] song.txt"
    (tmp_path / name).write_text(TEXT)
    out = "runs [red]/a b"
    result = call("train", name, "--out", out, *QUICK)
    assert f"text     {name}: " in result.err
    assert f"run      {out}\n" in result.err
    assert f"sample '{out}'" in result.err
    assert (
        f"resuming {out} from step 4\n" in call("train", name, "--out", out, *QUICK, "--resume").err
    )


def test_the_tales_are_the_default_and_have_a_floor(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carousel.training import text_source

    monkeypatch.setattr(text_source, "TALES_CHARACTERS", 100_000)
    result = call("train", "--out", "run", *QUICK)
    assert result.code == 0, result.err
    for pattern in (
        r"^text +tales: 10\d,\d{3} characters, .* known entropy",
        r"^step +4 .* above the floor$",
        r"^floor +0\.\d{4} nats \(0\.\d{3} bits\): the entropy",
    ):
        assert re.search(pattern, result.err, re.MULTILINE), pattern
    half = call("train", "--out", "half", *QUICK, "--split", "exact")  # cuts through a tale
    assert half.code == 0, half.err
    assert "floor" not in half.err


def test_a_sample_that_cannot_be_written_ends_nothing(tmp_path: Path, call: Call) -> None:
    (tmp_path / "run").mkdir()
    write_mark(tmp_path / "run")
    (tmp_path / "run" / "samples").touch()  # a file where the folder should be
    brief = ["--steps", "4", "--eval-every", "2", "--sample-every", "2"]
    result = call("train", "song.txt", "--out", "run", *TINY, *brief)
    assert result.code == 0, result.err
    assert "warning: File exists: run/samples" in result.err
    assert (tmp_path / "run" / "last").read_text() == "00000004\n"


@pytest.mark.usefixtures("brief")
def test_a_precision_that_is_chosen_is_said_and_kept(call: Call, tmp_path: Path) -> None:
    arguments = ("train", "song.txt", "--out", "run", *QUICK, "--precision", "auto")
    (tmp_path / "song.txt").write_text(TEXT)
    first = call(*arguments)
    assert first.code == 0, first.err
    config = json.loads(read_checkpoint(resolve(tmp_path / "run"))["config.json"])
    chosen = config["training"]["precision"]
    assert chosen == ("float32" if fused.unavailable_reason(torch.bfloat16) else "bf16")
    assert re.search(rf"device +cpu, 1 thread, {chosen}\n", first.err)
    assert call(*arguments, "--steps", "6", "--resume").code == 0
    last = read_metrics(tmp_path / "run")[-1]
    assert last["step"] == 6


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("out", [None, "deep/run"])
@pytest.mark.parametrize("cache", ["cache", "deep/cache", "."])
def test_a_run_below_the_folder_of_its_text_goes_on_and_is_evaluated(
    call: Call, tmp_path: Path, caplog: pytest.LogCaptureFixture, out: str | None, cache: str
) -> None:
    """What a command writes there is no part of the text, which stays the same text."""
    where = ("--out", out) if out else ()
    run = Path(out or f"runs/{tmp_path.name}")
    text = (".", "--cache-dir", cache)
    first = call("train", *text, *where, *QUICK)
    assert first.code == 0, first.err
    shutil.copytree(run / "checkpoints/00000004", tmp_path / "moved")
    again = call("train", *text, *where, *QUICK, "--steps", "6", "--resume")
    assert again.code == 0, again.err
    assert f"resuming {run} from step 4\n" in again.err
    assert f"{run} (a run)" in caplog.text
    assert caplog.text.count("left out of the text") == 1
    judged = call("eval", str(run), *text, "--json")
    assert judged.code == 0, judged.err
    assert json.loads(judged.out)["characters"] > 0
