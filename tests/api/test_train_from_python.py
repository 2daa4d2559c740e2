"""carousel.train: the weights of the command line, and nothing hidden, overwritten or ignored."""

import errno
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import carousel
from carousel.errors import ConfigError, DivergenceError, RunError, StorageError, TextError
from carousel.models.checkpoint import load_model
from carousel.models.config import ModelConfig
from carousel.training import End, Started, StepReport, trainer
from carousel.training.config import DataConfig, RunConfig, TrainingConfig
from cli.commands import TEXT, command

TINY: dict[str, Any] = {
    "embedding_size": 5,
    "hidden_size": 12,
    "batch_size": 4,
    "sequence_length": 16,
    "threads": 1,
    "device": "cpu",
}
FLAGS = [
    word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with folders of its own for caches and temporary files."""
    for name, folder in (("CAROUSEL_CACHE", "cache"), ("TMPDIR", "temporary")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def train(*paths: str, **settings: Any) -> carousel.TextModel:
    """Train a tiny model, on TEXT unless something else is named."""
    source = {} if paths or "text" in settings else {"text": TEXT}
    return carousel.train(*paths, **source, **TINY | settings)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def names_in(folder: Path) -> set[str]:
    """What is in a folder, but for what torch puts into TMPDIR when it is first used."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if "torchinductor" not in name}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The same as the command line.


def test_weights_equal_those_of_the_command_line() -> None:
    Path("song.txt").write_text(TEXT, encoding="utf-8")
    how = ["--steps", "20", "--dropout", "0.2", "--seed", "3", "--eval-every", "8"]
    done = command(Path(), "train", "song.txt", "--out", "typed", *FLAGS, *how)
    assert done.code == 0, done.err
    typed = load_model(Path("typed"))
    settings = {"steps": 20, "dropout": 0.2, "seed": 3, "eval_every": 8}
    in_python = train("song.txt", out="called", **settings)
    assert_same_weights(in_python.module, typed.model)
    assert_same_weights(train(**settings).module, typed.model)  # a string, no folder
    assert in_python.vocabulary == typed.vocabulary
    assert names_in(Path("called")) == names_in(Path("typed"))
    expected = typed.config | {"carousel": in_python.config["carousel"]}
    assert in_python.config == expected


def test_other_seeds_give_other_weights() -> None:
    one, other = (weights(train(steps=1, seed=seed).module) for seed in (0, 1))
    assert not torch.equal(one["output.weight"], other["output.weight"])


def test_the_best_checkpoint_is_returned() -> None:
    model = train(steps=30, eval_every=5, learning_rate=0.3, out="run", patience=0)
    assert model.config["step"] == model.config["progress"]["best_step"]
    assert_same_weights(model.module, load_model(Path("run/best")).model)


# Nothing is left behind, and nothing of the caller's is changed.


def test_nothing_is_left_on_the_disk_without_out(place: Path) -> None:
    model = train(steps=3, eval_every=1)
    assert names_in(place) == {"here", "temporary"}
    assert model.generate("the", length=5)


def test_nothing_is_left_after_an_error(place: Path) -> None:
    def fail(event: object) -> None:
        if isinstance(event, StepReport):
            raise RuntimeError("from the loop")

    with pytest.raises(RuntimeError, match="from the loop") as caught:
        train(steps=3, progress=fail)
    assert caught.value.__traceback__ is not None  # which keeps frames alive
    assert names_in(place) == {"here", "temporary"}


def test_an_error_names_no_folder_that_is_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trainer.backpropagate

    def diverge(state: trainer.Trainer, *arguments: Any) -> tuple[torch.Tensor, Any]:
        loss, carried = real(state, *arguments)
        return loss * (float("nan") if state.step == 2 else 1), carried

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "backpropagate", diverge)
        how = {"steps": 4, "eval_every": 1}
        with pytest.raises(DivergenceError, match=r"; try a smaller step \(learning_rate 0\.004 "):
            train(**how)
        with pytest.raises(DivergenceError, match="kept in run: go on with init_from run and a sm"):
            train(**how, out="run")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("carousel.training.run_folder.write_checkpoint", refuse)
    message = r"No space left on device; without out a run needs room in .*/temporary/carousel-\w+$"
    with pytest.raises(StorageError, match=message):
        train(steps=2)
    assert names_in(place / "temporary") == set()


def test_generators_and_threads_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    train(steps=2, dropout=0.2, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_draws_of_the_caller_change_nothing_of_a_run() -> None:
    plain = train(steps=6, dropout=0.4)
    disturbed = train(steps=6, dropout=0.4, progress=lambda event: torch.rand(5))
    assert_same_weights(plain.module, disturbed.module)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train(steps=3, eval_every=1, out="run")
    assert capfd.readouterr() == ("", "")


def test_progress_shows_validations_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    train(steps=2, eval_every=1, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(" validation ")[0] for line in err.splitlines()] == [
        f"step      {step} " for step in (1, 2)
    ]


def test_warnings_are_warnings_and_notes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="carousel"):
        with pytest.warns(carousel.CarouselWarning, match=r"a text seldom has: U\+0001") as shown:
            first = train(text=TEXT + "\x01", steps=1, out="run")
        assert Path(shown[0].filename) == Path(__file__)
        train(init_from="run", steps=1)
    assert f"starting from {Path('run/checkpoints/00000001')}" in caplog.text
    assert len(first.vocabulary) > 2


# A folder is never overwritten.


def test_a_run_is_not_overwritten() -> None:
    train(steps=1, out="run")
    before = files_in(Path("run"))
    message = "run already holds a run: resume continues it, another out starts anew"
    with pytest.raises(RunError, match=f"^{message}$"):
        train(steps=1, out="run")
    assert files_in(Path("run")) == before


def test_a_folder_with_something_in_it_is_refused() -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear diary")
    with pytest.raises(RunError, match="mine is not empty and holds no run"):
        train(steps=1, out="mine")
    assert names_in(Path("mine")) == {"letter.txt"}


def test_a_saved_model_is_no_run_to_resume() -> None:
    train(steps=1).save("saved")
    before = files_in(Path("saved"))
    for asked in ({"resume": "saved"}, {"out": "saved"}):
        with pytest.raises(RunError, match="saved holds a model and no run; init_from trains it"):
            train(steps=1, **asked)
    assert files_in(Path("saved")) == before


# Interrupted and resumed.


@pytest.fixture
def interrupt() -> Callable[[int], Callable[[object], None]]:
    """Return what sends SIGINT to this process after a step."""

    def at(step: int) -> Callable[[object], None]:
        def send(event: object) -> None:
            if isinstance(event, StepReport) and event.step == step:
                os.kill(os.getpid(), signal.SIGINT)

        return send

    return at


def test_an_interrupted_run_is_saved_and_goes_on_to_the_same_weights(
    interrupt: Callable[[int], Callable[[object], None]],
) -> None:
    whole = train(steps=12, eval_every=6, dropout=0.3)
    with pytest.raises(KeyboardInterrupt):
        train(steps=12, eval_every=6, dropout=0.3, out="run", progress=interrupt(4))
    assert load_model(Path("run/last")).config["step"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for how in ({"out": "run", "resume": True}, {"resume": "run"}):
        resumed = train(steps=12, eval_every=6, dropout=0.3, **how)
        assert_same_weights(resumed.module, whole.module)


def test_an_interrupt_without_out_leaves_nothing(
    place: Path, interrupt: Callable[[int], Callable[[object], None]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(steps=12, progress=interrupt(4))
    assert names_in(place) == {"here", "temporary"}


def test_an_interrupt_before_the_first_step_leaves_nothing(place: Path) -> None:
    def send(event: object) -> None:
        if isinstance(event, Started):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(steps=12, out="run", progress=send)
    assert not Path("run").exists()


def test_a_handler_of_the_callers_is_left_alone(
    interrupt: Callable[[int], Callable[[object], None]],
) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        assert train(steps=3, out="run", progress=interrupt(2)).config["step"] == 3
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_training_works_in_another_thread() -> None:
    models: list[carousel.TextModel] = []
    thread = threading.Thread(target=lambda: models.append(train(steps=2, out="run")))
    thread.start()
    thread.join()
    assert_same_weights(models[0].module, train(steps=2).module)


# Settings: nothing is ignored.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden_size": 3}, "no setting named hiden_size; perhaps you meant hidden_size"),
        ({"lr": 3}, "no setting named lr; perhaps you meant learning_rate"),
        ({"epochs": 3}, "no setting named epochs; perhaps you meant steps"),
        ({"output_dir": "a"}, "no setting named output_dir; perhaps you meant out"),
        ({"reusme": True}, "no setting named reusme; perhaps you meant resume"),
        ({"qqqq": 3}, "train has no setting named qqqq$"),
        ({"steps": "3"}, "steps must be a whole number, at least 1, got '3'"),
        ({"steps": 0}, "steps must be a whole number, at least 1, got 0"),
        ({"model": "lstn"}, "model must be one of rnn, gru, .*, got 'lstn'"),
        ({"num_heads": 2}, "num_heads is for model transformer, this is lstm"),
        ({"preset": "bset"}, "preset must be one of best, story, demo, got 'bset'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        ({"threads": 0}, "threads must be in "),
        ({"resume": True}, "resume=True needs out"),
        ({"resume": "a", "out": "b"}, "resume continues the run in a, and out names b"),
        ({"sample_every": 2}, "sample_every needs out"),
        ({"progress": "yes"}, "progress must be True, False or a function, got 'yes'"),
        ({"model": ModelConfig()}, "embedding_size stands in the ModelConfig that model gives"),
        ({"config": RunConfig()}, "stands in the RunConfig that config gives"),
        ({"training": TrainingConfig()}, "batch_size stands in the TrainingConfig"),
        ({"data": TrainingConfig()}, "data must be a DataConfig"),
        ({"split": "books"}, "^split books needs index, a file"),
        ({"out": ""}, "out must be the name of a file or folder, got ''"),
        ({"text": b"abc"}, "text must be a str, got bytes"),
    ],
)
def test_a_mistake_is_named_in_pythons_words(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(carousel.CarouselError, match=message) as caught:
        train(**{"steps": 1} | settings)
    assert "--" not in str(caught.value)
    assert names_in(Path()) == set()


def test_a_text_is_not_taken_for_a_path() -> None:
    with pytest.raises(ConfigError, match="a text at hand is given as text="):
        carousel.train(TEXT)
    with pytest.raises(ConfigError, match="a text at hand is given as text="):
        carousel.train("all on one line " * 100)
    with pytest.raises(TextError, match=r"nothing\.txt"):
        carousel.train("nothing.txt")
    with pytest.raises(ConfigError, match="not both"):
        carousel.train("song.txt", text=TEXT)


def test_a_whole_config_and_keywords_give_the_same_run() -> None:
    model = ModelConfig(model="gru", embedding_size=5, hidden_size=12)
    training = TrainingConfig(batch_size=4, sequence_length=16, steps=3, seed=2)
    config = RunConfig(model=model, training=training, data=DataConfig(split="exact"))
    how = {"text": TEXT, "threads": 1, "device": "cpu"}
    Path("my.toml").write_text(
        '[model]\nmodel = "gru"\nembedding_size = 5\nhidden_size = 12\ninitialization = "torch"\n'
        '[data]\nsplit = "exact"\n'
    )
    whole = carousel.train(config=config, **how)
    apart = carousel.train(model=model, training=training, split="exact", **how)
    assert_same_weights(whole.module, apart.module)
    # A file, a keyword over it, and a preset beneath both.
    by_file = carousel.train(config="my.toml", preset="story", steps=2, hidden_size=8, **how)
    settings = by_file.config["settings"]
    assert (settings["model"]["model"], settings["model"]["hidden_size"]) == ("gru", 8)
    assert (settings["training"]["optimizer"], settings["data"]["split"]) == ("adam", "exact")


def test_paths_numbers_and_fractions_are_taken_as_python_has_them() -> None:
    np = pytest.importorskip("numpy")
    model = train(steps=np.int64(2), learning_rate=np.float64(0.01), fractions=(0.8, 0.2))
    settings = model.config["settings"]
    assert settings["training"]["steps"] == 2
    assert settings["data"]["fractions"] == "0.8,0.2"
    assert set(model.config["corpus"]["parts"]) == {"train", "validation"}


def test_a_model_is_started_from_another() -> None:
    first = train(steps=4)
    first.save("first")
    second = carousel.train(text=TEXT, init_from="first", steps=1, learning_rate=1e-9, threads=1)
    assert second.config["model"] == first.config["model"]  # sizes come with the weights
    for name, one in weights(first.module).items():
        torch.testing.assert_close(weights(second.module)[name], one, atol=0.2, rtol=0)
    with pytest.raises(RunError, match="no such run: nowhere"):
        train(init_from="nowhere")


def test_several_files_and_a_folder_are_one_text() -> None:
    Path("texts").mkdir()
    for k in range(2):
        Path(f"texts/{k}.txt").write_text(TEXT, encoding="utf-8")
    with pytest.warns(carousel.CarouselWarning, match="also stand"):
        together = train("texts", steps=1)
    with pytest.warns(carousel.CarouselWarning, match="also stand"):
        listed = train("texts/0.txt", "texts/1.txt", steps=1)
    assert together.config["corpus"]["sha256"] == listed.config["corpus"]["sha256"]


def test_samples_and_the_curve_are_in_the_folder() -> None:
    events: list[object] = []
    train(steps=4, sample_every=2, out="run", progress=events.append)
    assert {path.name for path in Path("run/samples").iterdir()} == {"00000002.txt", "00000004.txt"}
    assert Path("run/loss.png").is_file()
    assert isinstance(events[-1], End)


@pytest.fixture(autouse=True)
def _default_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
