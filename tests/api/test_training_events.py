"""training.run: the plan, steps, validations, checkpoints, the end; a loop of the caller's own."""

import gc
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

import carousel
from carousel.errors import ConfigError, RunError
from carousel.models.checkpoint import load_model
from carousel.training import (
    End,
    Notice,
    RunEvent,
    Saved,
    Started,
    StepReport,
    Validation,
    make_config,
    run,
)
from cli.commands import TEXT

HOW: dict[str, Any] = {"text": TEXT, "threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiny(**settings: Any) -> carousel.RunConfig:
    sizes = {"embedding_size": 5, "hidden_size": 12, "batch_size": 4, "sequence_length": 16}
    return make_config(**sizes | settings)


def test_a_run_is_a_stream_of_events() -> None:
    events = list(run(tiny(steps=4, eval_every=2, save_every=4), out="run", **HOW))
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert [e.step for e in events if isinstance(e, StepReport)] == [1, 2, 3, 4]
    assert [e.step for e in events if isinstance(e, Validation)] == [2, 4]
    assert [e.step for e in events if isinstance(e, Saved)][-1] == 4
    assert events[-1] == End("finished", 4)
    assert load_model(Path("run/last")).config["step"] == 4


def test_the_loop_has_the_model_that_is_trained(place: Path) -> None:
    seen = []
    for event in run(tiny(steps=3), **HOW):
        match event:
            case Started():
                started = event
            case StepReport():
                seen.append(started.trainer.model.output.bias.detach().clone())
    assert len({tuple(bias.tolist()) for bias in seen}) == 3
    assert sum(map(len, started.parts.values())) >= 2
    assert not list(place.glob("carousel-*")) + list(place.glob("cache*"))


def test_leaving_the_loop_keeps_the_last_checkpoint_and_frees_the_folder() -> None:
    events = run(tiny(steps=9, eval_every=2), out="run", **HOW)
    for event in events:
        if isinstance(event, StepReport) and event.step == 5:
            break
    events.close()
    assert load_model(Path("run/last")).config["step"] == 4
    resumed = list(run(tiny(steps=9, eval_every=2), out="run", resume=True, **HOW))
    assert Notice("resumed", "resuming run from step 4") in resumed
    assert resumed[-1] == End("finished", 9)


def test_a_loop_that_is_left_is_closed_with_its_generator(place: Path) -> None:
    for event in run(tiny(steps=9), **HOW):
        if isinstance(event, StepReport):
            break
    gc.collect()
    assert not list(place.glob("carousel-*")) + list(place.glob("cache*"))


def test_a_stop_saves_the_present_step() -> None:
    steps: list[int] = []

    def note(event: RunEvent) -> None:
        if isinstance(event, StepReport):
            steps.append(event.step)

    for event in run(tiny(steps=9), out="run", stop=lambda: len(steps) == 3, **HOW):
        note(event)
    assert event == End("interrupted", 3)
    assert load_model(Path("run/last")).config["step"] == 3


def test_generators_are_the_callers_between_events() -> None:
    torch.manual_seed(7)
    expected = torch.rand(6)
    torch.manual_seed(7)
    drawn = [torch.rand(1) for _, _ in zip(range(6), run(tiny(steps=9, dropout=0.3), **HOW))]  # noqa: B905
    assert torch.equal(torch.cat(drawn), expected)
    gc.collect()


def test_threads_are_restored_when_the_loop_is_left() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        events = run(tiny(steps=9), **HOW)
        next(events)
        assert torch.get_num_threads() == 1
        events.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_tales_are_the_default_and_have_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carousel.training.text_source.TALES_CHARACTERS", 60_000)
    events = run(tiny(steps=1), threads=1, device="cpu")
    started = next(event for event in events if isinstance(event, Started))
    events.close()
    assert started.floor is not None
    assert 0 < started.floor < 2


def test_a_time_limit_before_the_first_step_is_an_error(place: Path) -> None:
    with pytest.raises(RunError, match=r"^time_limit 1e-09 ended before the first step"):
        list(run(tiny(time_limit=1e-9), out="run", **HOW))
    assert not Path("run").exists()


def test_a_config_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="config must be a RunConfig"):
        run({"steps": 3})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="resume needs out"):
        run(tiny(), resume=True, **HOW)
    with pytest.raises(ConfigError, match="encoding says how files are read"):
        make_config(encoding="latin-1")
    with pytest.raises(ConfigError, match="no setting named hiden_size; perhaps you meant hidden"):
        make_config(hiden_size=3)


def test_make_config_gives_the_settings_of_the_command_line() -> None:
    from carousel.cli.train import read_command

    flags = ["--model", "gru", "--hidden-size", "48", "--seed", "3", "--split", "documents"]
    assert make_config(model="gru", hidden_size=48, seed=3, split="documents") == (
        read_command(flags).settings
    )
    assert make_config(preset="story") == read_command(["--preset", "story"]).settings
