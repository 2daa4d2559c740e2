"""Whoever loads a model while its training saves gets the old one or the new, never a mixture.

A process publishes models whose every weight, and whose config.json, is the number of the step. A
race is won when a load ends while another step's checkpoint is the best than when it began.
"""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from budgets import amount, torture, torture_only
from carousel.models import checkpoint
from carousel.models.checkpoint import load_model, model_files, resolve
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.training.run_folder import RunFolder
from cli.commands import TEXT, command, environment, started, wait_until
from cli.disturbed import last_step, train
from training.small_runs import VOCABULARY

RACES = amount(40, 1_000)  # in all
WRITERS = amount(1, 4)

WRITER = """
import sys
from itertools import count
from pathlib import Path

from carousel.models.checkpoint import model_files
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.data.vocabulary import Vocabulary
from carousel.training.run_folder import RunFolder

settings = {"embedding_size": 16, "hidden_size": 64}
vocabulary = Vocabulary.from_text("a story")
model = build(ModelConfig(**settings), len(vocabulary))
folder = RunFolder(Path(sys.argv[1]))
folder.prepare()
for step in count(1):
    for parameter in model.parameters():
        parameter.data.fill_(step)
    folder.save(step, model_files(model, vocabulary, {"model": settings, "step": step}), best=step)
"""


@contextmanager
def writer(run: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that saves one model after the other until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(run)],
        env=environment(run.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: (run / "best").exists(), process)
            yield process
        finally:
            process.kill()


def load(run: Path) -> int:
    """Load the best model of a run, find it whole, and return its step."""
    loaded = load_model(run)
    step: int = loaded.config["step"]
    assert loaded.folder.name == f"{step:08d}"
    values = {v for weight in loaded.model.parameters() for v in weight.unique().tolist()}
    assert values == {float(step)}, "a mixture"
    return step


@torture
@pytest.mark.parametrize("trial", range(WRITERS))
def test_a_reader_gets_the_old_or_the_new(tmp_path: Path, trial: int) -> None:
    run, won, seen = tmp_path / "run", 0, [0]
    with writer(run) as process:
        while won < RACES // WRITERS:
            assert process.poll() is None, process.communicate()
            before = resolve(run)
            seen.append(load(run))
            won += resolve(run) != before
    assert seen == sorted(seen), "a reader went back in time"


def test_a_reader_that_was_overtaken_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding the best checkpoint and reading it, it was replaced and deleted."""
    model, folder = build(ModelConfig(hidden_size=4), len(VOCABULARY)), RunFolder(tmp_path)
    folder.prepare()

    def save(step: int) -> None:
        config = {"model": {"hidden_size": 4}, "step": step}
        folder.save(step, model_files(model, VOCABULARY, config), best=step)

    def overtaken(found: Path, *arguments: object) -> object:
        for later in range(int(found.name) + 1, 6):  # the last one is met as it is
            save(later)
        return read(found, *arguments)

    read = checkpoint.read_checkpoint
    save(1)
    monkeypatch.setattr(checkpoint, "read_checkpoint", overtaken)
    assert load_model(tmp_path).config["step"] == 5


@torture_only
@torture
def test_the_command_samples_while_a_run_is_trained(tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_text(TEXT, encoding="utf-8")
    schedule = ["--steps", "1000000", "--eval-every", "2", "--schedule", "constant"]
    with started(tmp_path, *train("lanes", "run", *schedule)) as process:
        wait_until(lambda: last_step(tmp_path / "run") > 0, process)
        for _ in range(10):
            length = random.randint(1, 50)
            done = command(tmp_path, "sample", "run", "--prompt", "the ", "--length", f"{length}")
            assert done.code == 0, done.err
            written = done.out.removeprefix("the ")
            ends_its_line = written[length - 1 : length] == "\n"  # then no end of line is added
            assert len(written) == length + (not ends_its_line)
            assert process.poll() is None
