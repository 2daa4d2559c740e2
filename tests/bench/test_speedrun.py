"""The speed run: its files are complete, its judge is right, and it takes no other text."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import speedrun
from benchmarks.speedrun import Text, Track, read_track, run, summary, window_loss
from carousel.cli.train import read_command
from carousel.data.vocabulary import Vocabulary
from carousel.errors import DataError
from carousel.models.config import ModelConfig
from carousel.training.config import RunConfig, TrainingConfig, read_toml, run_config
from conftest import ROOT
from generation.markov import Markov

TRACKS = list(read_toml(speedrun.TRACKS))
VOCABULARY = Vocabulary.from_text("abcde")
IDS = np.random.default_rng(0).integers(5, size=4000, dtype=np.uint8)
TEXT = Text(IDS, IDS[:600], VOCABULARY)
SMALL = RunConfig(
    model=ModelConfig(embedding_size=3, hidden_size=4),
    training=TrainingConfig(steps=3, batch_size=2, sequence_length=5, optimizer="muon"),
)


@pytest.mark.parametrize("name", TRACKS)
def test_each_track_fixes_what_the_rules_ask_for(name: str) -> None:
    track = read_track(name)
    training = track.settings.training
    assert training.steps is not None
    assert training.time_limit is None
    assert training.seed == 0
    assert len(track.sha256) == len(track.split_sha256) == 64


def test_each_file_is_of_a_track() -> None:
    files = {path.stem for path in speedrun.FOLDER.glob("*.toml")}
    assert files == {*TRACKS, "tracks"}


def small_track(**changes: object) -> Track:
    track = read_track(TRACKS[0])._replace(settings=SMALL)
    return track._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_torch", [False, True])
def test_a_seed_decides_what_comes_out(is_torch: bool) -> None:
    first, again, other = (run(small_track(), TEXT, seed, is_torch=is_torch) for seed in (0, 0, 1))
    for loss in ("training_loss", "validation_loss", "window_loss"):
        assert first[loss] == again[loss] != other[loss]
        assert first[loss] == pytest.approx(math.log(5), abs=0.3)
    assert first["characters"] == 3 * 2 * 5
    assert first["seconds"] >= 0


def test_windows_are_judged_from_a_zero_state(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Markov(5)
    monkeypatch.setattr(speedrun, "WINDOWS", 64)
    monkeypatch.setattr(speedrun, "AT_ONCE", 32)
    got = window_loss(model, IDS)
    rng, want = np.random.default_rng(0), []
    for _ in range(2):
        for start in rng.integers(len(IDS) - 256, size=(32, 1))[:, 0]:
            window = torch.from_numpy(IDS[start : start + 257].astype(np.int64))[None]
            log_p = model(window[:, :-1])[0].log_softmax(-1)
            want.append(-float(log_p.gather(2, window[:, 1:, None]).mean()))
    assert got == pytest.approx(np.mean(want), rel=1e-5)


def test_another_text_or_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 50)
    track = small_track(text="a.txt", settings=read_track(TRACKS[0]).settings)
    with pytest.raises(DataError, match=r"a\.txt has the SHA-256 \w+, and the track is about"):
        speedrun.read_text(track, tmp_path)


def test_a_goal_is_reached_beyond_doubt_or_not() -> None:
    def found(losses: list[float]) -> str:
        runs = [{"seconds": 10 + k, "validation_loss": loss} for k, loss in enumerate(losses)]
        return summary(small_track(goal=1.5, bar=60), runs)

    # sigma 0.01; 5 losses must be 0.0138 below the goal on average
    around = [-0.01, -0.01, 0.0, 0.01, 0.01]
    assert "median 12.0 s, bar 60 s" in found([1.48 + d for d in around])
    assert found([1.485 + d for d in around]).endswith(": reached")
    assert found([1.487 + d for d in around]).endswith("not reached beyond doubt")
    assert "sigma 0.0100" in found([1.4 + d for d in around])


def test_where_there_is_no_goal_the_loss_is_what_counts() -> None:
    runs = [{"seconds": 10.0, "validation_loss": loss} for loss in (1.4, 1.42)]
    said = summary(small_track(goal=None, bar=60), runs)
    assert said == "median 10.0 s, bar 60 s; validation: mean 1.4100, sigma 0.0141"
    assert summary(small_track(goal=None, bar=60), runs[:1]).endswith("mean 1.4000")


@pytest.mark.parametrize(
    "path",
    [
        *(speedrun.FOLDER / f"{name}.toml" for name in TRACKS),
        ROOT / "experiments/story/story.toml",
    ],
    ids=lambda path: path.stem,
)
def test_settings_are_those_that_train_takes(path: Path) -> None:
    """`carousel train --config` reads the same file, and no preset adds anything to it."""
    assert read_command(["--config", str(path)]).settings == run_config(("", read_toml(path)))
