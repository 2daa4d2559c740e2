"""`--model mlp` and `--model transformer`: a text to a model, a sample, a figure and a page."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from carousel.cli import train_run
from carousel.models.checkpoint import load_model, read_checkpoint, resolve
from carousel.models.evaluation import evaluate
from carousel.server.app import create_app
from cli.commands import TEXT, TINY, Call, caller
from server.running import thread_engine

ATTENTION = ("--model", "transformer", "--embedding-size", "8", "--num-heads", "2")
FAMILIES = {
    "mlp": ("--model", "mlp", "--context-length", "5"),
    "transformer": (*ATTENTION, "--context-length", "9"),
    "learned": (*ATTENTION, "--context-length", "24", "--positions", "learned"),
    "sinusoidal": (*ATTENTION, "--context-length", "24", "--positions", "sinusoidal"),
}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out curve and sample at the end, which take the longest."""
    monkeypatch.setattr(train_run, "sum_up", lambda *arguments: None)


def train(call: Call, family: str, *others: str, out: str = "run") -> tuple[str, str]:
    """Train a few steps, and return what was written and what was said."""
    flags = (*TINY, *FAMILIES[family], "--steps", "4", *others)
    result = call("train", "song.txt", "--out", out, *flags)
    assert result.code == 0, result.err
    return result.out, result.err


@families
def test_a_text_becomes_a_model_that_every_command_takes(call: Call, family: str) -> None:
    out, err = train(call, family, "--eval-every", "2", "--sample-every", "2")
    loaded = load_model(Path("run"))
    longest = loaded.model.max_length
    assert re.search(r"^model +(mlp|transformer).*, context \d+: [\d,]+ parameters$", err, re.M)
    assert ("(lanes)" in err) == (longest is None)
    sample = Path("run/samples/00000002.txt").read_text()
    assert len(sample) >= min(240, longest or 240)
    begin = loaded.config["corpus"]["opening"] if longest is None else ""
    assert begin in ("", "the king sang to the")
    assert out.startswith(begin)
    assert len(out) == len(begin) + min(500, longest or 500) + 1  # with the last line feed

    # What it says to try next works as it stands.
    line = next(line for line in err.splitlines() if " sample run" in line)
    sampled = call(*shlex.split(line[line.index("sample run") :]))
    assert (sampled.code, sampled.err) == (0, "")
    assert len(sampled.out.removesuffix("\n")) >= min(499, (longest or 500) - 1)

    figures = call("eval", "run", "song.txt", "--part", "validation", "--json")
    nats = json.loads(figures.out)["nats_per_character"]
    assert nats == pytest.approx(loaded.config["progress"]["best_loss"], rel=1e-6)
    start = loaded.config["corpus"]["parts"]["train"]
    size = loaded.config["corpus"]["parts"]["validation"]
    held_out = loaded.vocabulary.encode(TEXT[start : start + size])
    assert nats == evaluate(loaded.model, held_out)

    with thread_engine(loaded.model, loaded.vocabulary) as engine:
        client = create_app([engine]).test_client()
        page = client.get("/").text
        most, value = re.search(r'id="length".*max="(\d+)" value="(\d*)"', page).groups()
        assert (value == "") == (longest is not None)
        asked = {"prompt": "the", "max_tokens": int(value or most)}
        told = client.post("/v1/completions", json=asked).json["choices"][0]
    assert told["finish_reason"] == "length"
    assert len(told["text"]) == (600 if longest is None else longest - 2)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("First Citizen:", '--prompt "First Citizen:"'),
        ("--help", "--prompt=--help"),
        ("it's $HOME", "--prompt='it'\"'\"'s $HOME'"),
        ('"Well, Prince"', "--prompt='\"Well, Prince\"'"),
        ("Es war einmal", '--prompt "Es war einmal"'),
    ],
)
def test_what_it_says_to_try_next_begins_as_the_text_does(
    call: Call, tmp_path: Path, line: str, shown: str
) -> None:
    (tmp_path / "own.txt").write_text(f"{line}\n{TEXT}", encoding="utf-8")
    result = call("train", "own.txt", "--out", "run", *TINY, "--steps", "2")
    assert result.out.startswith(line)
    (suggestion,) = (said for said in result.err.splitlines() if " sample run" in said)
    assert suggestion.endswith(f"sample run {shown}")
    sampled = call(*shlex.split(suggestion[suggestion.index("sample run") :]), "--length", "9")
    assert (sampled.code, sampled.err) == (0, "")
    assert sampled.out.startswith(line)


@pytest.mark.usefixtures("brief")
def test_positions_that_end_are_told_before_the_first_character(call: Call) -> None:
    train(call, "learned")
    beyond = call("sample", "run", "--prompt", "the king", "--length", "18")
    assert beyond == (
        2,
        "",
        "carousel sample: this model has positions for 24 characters: "
        "after 8 a length of 17 would work, not 18\n",
    )
    just = call("sample", "run", "--prompt", "the king", "--length", "17")
    assert (just.code, just.err, len(just.out.removesuffix("\n"))) in [(0, "", 25), (0, "", 24)]
    long = call("sample", "run", "--prompt", "the king sang to the queen", "--length", "1")
    assert (long.code, long.out) == (2, "")
    assert long.err.endswith("the prompt has 26: a shorter one would work\n")


@families
@pytest.mark.usefixtures("brief")
def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(call: Call, family: str) -> None:
    """With a constant rate, 4 steps and then 3 more are 7; the carried state is on disk between."""
    steady = ("--schedule", "constant", "--warmup-steps", "0", "--dropout", "0.2")
    train(call, family, *steady, out="broken")
    again = (*TINY, *FAMILIES[family], *steady, "--steps", "7")
    resumed = call("train", "song.txt", "--out", "broken", *again, "--resume")
    assert "resuming broken from step 4\n" in resumed.err
    train(call, family, *steady, "--steps", "7", out="whole")
    broken, whole = (read_checkpoint(resolve(Path(run), "last")) for run in ("broken", "whole"))
    for name in ("model.safetensors", "trainer.safetensors", "trainer.json"):
        assert broken[name] == whole[name], name


@pytest.mark.usefixtures("brief")
def test_weights_of_an_mlp_go_to_the_same_characters(tmp_path: Path, call: Call) -> None:
    """Sizes and context come with them."""
    train(call, "mlp", out="old")
    (tmp_path / "tale.txt").write_text(TEXT.upper() + TEXT)
    rates = ("--learning-rate", "1e-9", "--muon-learning-rate", "1e-9")
    start = ("train", "tale.txt", "--init-from", "old", *TINY[4:], *rates)
    result = call(*start, "--steps", "1", "--out", "new")
    assert result.code == 0, result.err
    old, new = (load_model(Path(run)) for run in ("old", "new"))
    assert new.model.config == old.model.config
    assert new.model.config.context == 5
    for name, parameter in old.model.named_parameters():
        got = dict(new.model.named_parameters())[name]
        if name.startswith(("embedding", "output")):
            got = got[[new.vocabulary.stoi[c] for c in old.vocabulary.itos]]
        torch.testing.assert_close(got, parameter, atol=1e-7, rtol=0, msg=name)
    other = call(*start, "--steps", "1", "--out", "other", "--context-length", "6")
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "body.layers.0.weight is (12, 25) in old/checkpoints/00000004, (12, 30)" in other.err


@pytest.mark.parametrize("family", ["mlp", "transformer"])
@pytest.mark.usefixtures("brief")
def test_products_in_half_precision(call: Call, family: str) -> None:
    train(call, family, "--precision", "bf16")
    loaded = load_model(Path("run"))
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    loss = loaded.config["progress"]["best_loss"]
    assert loss == pytest.approx(4, rel=0.5)


@pytest.mark.usefixtures("brief")
def test_without_a_length_the_text_goes_as_far_as_the_positions(call: Call) -> None:
    _, err = train(call, "learned")
    assert "train the first" in err  # of 24, its windows reach but some
    told = call("sample", "run", "--prompt", "the king")
    assert (told.code, told.err) == (0, "")
    assert len(told.out.removesuffix("\n")) == 25  # the last character need not be read
