"""Which run a command means, whatever the clock said when it was written."""

import json
import os
from pathlib import Path

import pytest

from carousel.cli.runs import find_run, new_run, newest_of, shown
from carousel.errors import RunError
from carousel.models.pretrained import ARTEFACTS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(name: str, *, at: int | None = 0) -> None:
    """Make a run that was last saved at a time; None: that was never saved."""
    (run := Path("runs", name)).mkdir(parents=True)
    if at is not None:
        (run / "last").write_text("00000001\n")
        os.utime(run / "last", (at, at))


def test_names_follow_one_another() -> None:
    for expected in ("tale", "tale-2", "tale-3"):
        path = new_run("tale")
        assert path == Path("runs", expected)
        path.mkdir(parents=True)


def test_the_name_of_a_removed_run_is_not_given_to_a_younger_one() -> None:
    for name in ("tale", "tale-2", "tale-3"):
        make(name)
    Path("runs/tale-2/last").unlink()
    Path("runs/tale-2").rmdir()
    assert new_run("tale") == Path("runs/tale-4")


def test_the_newest_is_the_last_made_though_the_clock_was_set_back() -> None:
    for name, at in [("tale", 3000), ("tale-2", 2000), ("tale-9", 1500), ("tale-10", 1000)]:
        make(name, at=at)
    assert newest_of("tale", "0" * 64) == Path("runs/tale-10")


def test_the_newest_has_something_to_go_on_from() -> None:
    assert newest_of("tale", "0" * 64) is None
    make("tale")
    make("tale-2", at=None)
    assert newest_of("tale", "0" * 64) == Path("runs/tale")


def test_the_newest_is_of_the_same_text() -> None:
    """A run of a.txt and b.txt is called after a.txt too."""
    for name, digit in [("tale", "0"), ("tale-2", "1"), ("tale-3", "2")]:
        make(name)
        checkpoint = Path("runs", name, "checkpoints", "00000001")
        checkpoint.mkdir(parents=True)
        config = {"corpus": {"sha256": digit * 64}}
        (checkpoint / "config.json").write_text(json.dumps(config))
    assert newest_of("tale", "1" * 64) == Path("runs/tale-2")
    assert newest_of("tale", "7" * 64) == Path("runs/tale-3")  # which then says why not
    (Path("runs/tale-3/checkpoints/00000001") / "config.json").write_bytes(b"damaged")
    assert newest_of("tale", "1" * 64) == Path("runs/tale-3")  # whose checkpoint before may do


def test_runs_of_other_names_are_told_apart() -> None:
    for name in ("tale", "tale-two", "tale-2-3", "tales-4", "tale-²", "t.le-5", "tale-007"):
        make(name)
    assert newest_of("tale", "0" * 64) == Path("runs/tale")
    assert newest_of("t.le", "0" * 64) == Path("runs/t.le-5")
    assert new_run("tale") == Path("runs/tale-2")


def test_where_nothing_was_trained_yet_the_model_that_ships_is_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert find_run(None) == ARTEFACTS / "story"
    assert "story, the model that ships" in capsys.readouterr().err
    make("a")
    assert find_run(None) == Path("runs/a")


def test_the_name_of_a_model_that_ships_means_it_unless_a_path_has_that_name() -> None:
    assert find_run(Path("story")) == ARTEFACTS / "story"
    assert shown(find_run(Path("story"))) == "story"
    Path("story").mkdir()
    assert find_run(Path("story")) == Path("story")


def test_without_a_name_the_run_last_written_to_is_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make("a", at=1000)
    make("b", at=3000)
    make("c", at=2000)
    assert find_run(None) == Path("runs/b")
    assert capsys.readouterr().err == "note: runs/b, the newest run, is taken\n"
    with pytest.raises(RunError, match=r"no such run: d; there are runs/a, runs/c, runs/b, story$"):
        find_run(Path("d"))
    for k in range(3):
        make(f"newer-{k}", at=4000 + k)
    with pytest.raises(RunError, match=r"runs/newer-2, story, and 1 older in runs/$"):
        find_run(Path("d"))
