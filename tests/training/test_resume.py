"""Which runs go on, with which settings; what happens where the newest checkpoint is damaged."""

import shutil
from pathlib import Path

import pytest

from carousel.errors import CheckpointError, RunError
from carousel.training.fit import End, Saved
from carousel.training.resume import resume, resumed_settings
from carousel.training.run_folder import RunFolder
from carousel.training.setup import config_table, fit_time_limit, resolve
from training.small_runs import CORPUS, TRAIN, open_run, settings, whole_state


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 24 steps, stopped at step 14: it has the checkpoints of 12 and 14, and the best."""
    open_run(tmp_path / "run", settings(), stop=lambda trainer: trainer.step == 14).events()
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_without_a_checkpoint_is_no_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare()
    corpus = CORPUS["sha256"]
    assert resume(folder, settings(), corpus=corpus, ids=TRAIN, device="cpu") is None


def test_another_text_is_refused(run: Path) -> None:
    before = files(run)
    with pytest.raises(RunError, match=r"started on another text \(song\); --init-from starts"):
        resume(RunFolder(run), settings(), corpus="1" * 64, ids=TRAIN, device="cpu")
    assert files(run) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 12}, "seed = 11, this command says 12"),
        ({"learning_rate": 0.5}, "learning_rate = 0.01, this command says 0.5"),
        ({"learning_rate": None}, "learning_rate = 0.01, this command says its default"),
        ({"batching": "windows"}, "batching = lanes, this command says windows"),
        ({"batch_size": 2}, "batch_size = 3, this command says 2"),
        ({"precision": "bf16"}, "precision = float32, this command says bf16"),
        ({"model": {"hidden_size": 9}}, "hidden_size = 8, this command says 9"),
        ({"model": {"dropout": 0.3}}, "dropout = 0.2, this command says 0.3"),
    ],
)
def test_another_setting_is_refused_by_name(
    run: Path, change: dict[str, object], message: str
) -> None:
    before = files(run)
    with pytest.raises(RunError, match=f"the run was started with {message}; resume with the same"):
        open_run(run, settings(**change))
    assert files(run) == before


@pytest.mark.parametrize(
    ("change", "remedy"),
    [({"seed": 3}, "with --init-from"), ({"model": {"model": "gru"}}, "in another --out")],
)
def test_the_advice_is_one_that_works(run: Path, change: dict[str, object], remedy: str) -> None:
    with pytest.raises(RunError, match=f"or start anew {remedy}$"):
        open_run(run, settings(**change))


def test_what_enters_no_step_before_may_change(run: Path) -> None:
    given = settings(
        steps=20, eval_every=2, save_every=1, sample_every=3, patience=9, time_limit=60.0
    )
    reopened = open_run(run, given)
    assert reopened.trainer.step == 14
    events = reopened.events()
    assert [event.step for event in events if isinstance(event, Saved)] == list(range(14, 21))
    assert events[-1] == End("finished", 20)


def test_fewer_steps_than_were_done_end_at_once(run: Path) -> None:
    events = open_run(run, settings(steps=10)).events()
    assert events[-1] == End("finished", 14)


def test_the_same_command_goes_on_with_the_schedule_that_a_time_limit_shortened() -> None:
    given = settings(steps=1000, time_limit=10.0)
    shorter = fit_time_limit(given, resolve(given, 800), 800, seconds=0.1)
    saved = config_table(given, shorter, CORPUS)
    assert resumed_settings(given, saved, CORPUS["sha256"], 800) == shorter
    more = settings(steps=2000, time_limit=10.0)
    assert resumed_settings(more, saved, CORPUS["sha256"], 800).training.steps == 2000


def test_steps_that_were_left_open_stay_as_they_were_decided() -> None:
    given = settings(steps=None)
    saved = config_table(given, resolve(given, 800), CORPUS)
    assert resumed_settings(given, saved, CORPUS["sha256"], 800) == resolve(given, 800)


# The newest checkpoint is damaged.


def damage(checkpoint: Path) -> None:
    path = checkpoint / "trainer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_it_falls_back_to_the_one_before_and_says_so(run: Path) -> None:
    damage(run / "checkpoints" / "00000014")
    reopened = open_run(run, settings())
    assert reopened.trainer.step == 12
    (fault,) = reopened.faults
    assert fault.endswith(
        "00000014/trainer.safetensors is damaged: its SHA-256 is not the manifest's"
    )
    # What cannot be read is gone, the pointers name what can, and the bits are those of step 12.
    assert RunFolder(run).saved_steps()[-1] == 12
    assert (run / "last").read_text() == "00000012\n"
    before = whole_state(reopened.trainer)
    assert int(before["step"]) == 12
    assert reopened.events()[-1] == End("finished", 24)


def test_the_best_is_one_that_is_there(run: Path) -> None:
    for step in RunFolder(run).saved_steps()[1:]:
        damage(run / "checkpoints" / f"{step:08d}")
    open_run(run, settings())
    best = (run / "best").read_text().strip()
    assert (run / "checkpoints" / best / "manifest.json").is_file()


def test_nothing_that_can_be_read_is_an_error(run: Path) -> None:
    for step in RunFolder(run).saved_steps():
        damage(run / "checkpoints" / f"{step:08d}")
    before = files(run)
    with pytest.raises(CheckpointError, match=r"no checkpoint of .*run can be read: .*00000014"):
        open_run(run, settings())
    assert files(run) == before


def test_killed_between_the_checkpoint_and_its_pointers(run: Path) -> None:
    """`best` and `last` still name the ones before; resuming puts them right."""
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    open_run(run, settings()).events()
    whole = files(run)
    open_run(copy, settings()).events()
    for pointer in ("best", "last"):
        (copy / pointer).write_text("00000012\n")
    open_run(copy, settings())
    assert {k: v for k, v in files(copy).items() if k in ("best", "last")} == {
        k: v for k, v in whole.items() if k in ("best", "last")
    }
