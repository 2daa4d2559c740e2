"""What Carousel did not make is neither changed nor removed, whatever it is called.

Each test takes a picture of the whole tree (names, kinds, permissions, contents, targets of links)
before a command and after it.
"""

import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.cli import train_run
from carousel.errors import RunError, StorageError
from carousel.kernels import build
from carousel.models.checkpoint import MANIFEST, to_json
from carousel.training import prepared_run
from carousel.training.run_folder import RunFolder
from carousel.training.run_mark import MARK, is_marked
from cli.commands import TEXT, TINY, Call, caller
from cli.foreign import THEIRS, changed, furnish, picture

posix = pytest.mark.skipif(os.name == "nt", reason="Windows makes no links without a privilege")
pytestmark = posix
QUICK = (*TINY, "--steps", "2", "--eval-every", "2")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    ours = caller(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    (tmp_path / "short.txt").write_text("once")
    return ours


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in a folder with its text, to be copied."""
    cwd = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setenv("CAROUSEL_CACHE", str(cwd.parent / "finished-cache"))
        patch.setattr(train_run, "sum_up", lambda *arguments: None)
        Path("song.txt").write_text(TEXT)
        from carousel.cli.main import run

        assert run(["train", "song.txt", "--out", "run", *QUICK]) == 0
    return cwd / "run"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_run, "sum_up", lambda *arguments: None)


# Folders of other tools, by what is in them; and what the refusal names.


def manifest_of_another_tool(folder: Path) -> None:
    (folder / "checkpoints" / "00000001").mkdir(parents=True)
    (folder / "checkpoints" / "00000001" / MANIFEST).write_text('{"files": ["model.pt"]}')


def numbers_without_manifest(folder: Path) -> None:
    (folder / "checkpoints" / "00000001").mkdir(parents=True)
    (folder / "checkpoints" / "00000001" / "weights.bin").write_bytes(THEIRS)


def unsaved_with_a_letter(folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "lock").write_text("123")
    (folder / "letter.txt").write_bytes(THEIRS)


def unsaved_with_samples_of_theirs(folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "lock").write_text("123")
    (folder / "samples").mkdir()
    (folder / "samples" / "a.wav").write_bytes(THEIRS)


def file_in(name: str, content: bytes = THEIRS) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        (folder / "best").write_bytes(THEIRS)
        (folder / "metrics.jsonl").write_bytes(THEIRS)

    return fill


def link_in(name: str, target: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        folder.mkdir()
        (folder / name).symlink_to(target)

    return fill


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "everything": (furnish, "(checkpoints/00000001 is not Carousel's)"),
    "a letter": (file_in("letter.txt"), "holds no run; name another"),
    "checkpoints of another tool": (
        file_in("checkpoints/model.pt"),
        "(checkpoints/model.pt is not Carousel's)",
    ),
    "numbers without a manifest": (
        numbers_without_manifest,
        "(checkpoints/00000001 is not Carousel's)",
    ),
    "another manifest": (manifest_of_another_tool, "(checkpoints/00000001 is not Carousel's)"),
    "checkpoints is a file": (file_in("checkpoints"), "(checkpoints is not Carousel's)"),
    "an empty lock": (file_in("lock", b""), "(lock is not Carousel's)"),
    "a lock with words": (file_in("lock"), "(lock is not Carousel's)"),
    "the lock of a daemon": (file_in("lock", b"123"), "(lock is not Carousel's)"),
    "nothing saved, and a letter": (unsaved_with_a_letter, "(letter.txt is not Carousel's)"),
    "samples of theirs": (unsaved_with_samples_of_theirs, "(samples is not Carousel's)"),
    "names of other case": (file_in("LOCK"), "is not empty and holds no run"),
    "dots": (file_in("..."), "is not empty and holds no run"),
    "odd bytes": (file_in(os.fsdecode(b"\xff")), "is not empty and holds no run"),
    "a mark of another kind": (file_in(MARK, b'{"kind": "merry-go-round"}'), "holds no run"),
    "a mark that is a link": (link_in(MARK, "../song.txt"), "holds no run"),
    "checkpoints is a link": (link_in("checkpoints", ".."), "(checkpoints is not Carousel's)"),
    "lock is a link": (link_in("lock", "../song.txt"), "(lock is not Carousel's)"),
    "lock leads nowhere": (link_in("lock", "nowhere"), "(lock is not Carousel's)"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_folder_of_another_tool_is_refused(kind: str, tmp_path: Path, call: Call) -> None:
    fill, words = FOREIGN[kind]
    fill(tmp_path / "theirs")
    before = picture(tmp_path)
    for arguments in ((), ("--resume",), ("--init-from", "story")):
        result = call("train", "song.txt", "--out", "theirs", *QUICK, *arguments)
        assert result.err.startswith("carousel train: --out theirs "), result.err
        assert words in result.err
        assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
        assert picture(tmp_path) == before
    with pytest.raises(RunError, match=r"theirs is not empty and holds no run"):
        RunFolder(tmp_path / "theirs").prepare()
    assert picture(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["forecast", "numbers.csv", "--out", "theirs"],
        ["forecast", "numbers.csv", "--out", "absent/.."],
        ["forecast", "numbers.csv", "--out", "theirs/dangling"],
        ["tales", "--characters", "10", "--out", "theirs/notes"],
        ["tales", "--characters", "10", "--out", "theirs/dangling"],
        ["tales", "--characters", "10", "--out", "theirs/pipe"],
        ["bench", "--short", "--out", "theirs"],
        ["prepare", "theirs", "--pattern", "*.none"],
        ["sample", "theirs"],
        ["eval", "theirs", "song.txt"],
        ["train", "song.txt", "--init-from", "theirs"],
        ["train", "song.txt", "--out", "theirs/dangling"],
        ["train", "song.txt", "--out", "theirs/notes"],
        ["train", "song.txt", "--out", "theirs/notes/below"],
        ["train", "song.txt", "--out", "theirs/self/self"],
        ["train", "song.txt", "--out", "theirs/outside/../theirs"],
    ],
    ids=" ".join,
)
def test_other_commands_leave_it_alone(arguments: list[str], tmp_path: Path, call: Call) -> None:
    (tmp_path / "numbers.csv").write_text("n\n" + "\n".join(str(k % 7) for k in range(90)))
    (tmp_path / "outside").mkdir()
    furnish(tmp_path / "theirs")
    before = picture(tmp_path)
    result = call(*arguments)
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1), result
    assert picture(tmp_path) == before


# A start that fails leaves everything as it was.

FAILURES = {
    "too short": ("short.txt",),
    "no window fits": ("song.txt", "--sequence-length", "100000"),
    "other sizes than the weights": ("song.txt", "--init-from", "story", "--hidden-size", "7"),
    "no such text": ("nowhere.txt",),
}
PLACES = (
    *("new", "a/b/c", "data", "runs/../data", "absent/..", ".", "empty", "empty/", "absent/../new"),
    *("link", "link/../data", "link/new", "theirs/new", os.fsdecode(b"odd-\xff"), "...", None),
)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_start_leaves_everything_as_it_was(
    failure: str, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_bytes(THEIRS)
    (tmp_path / "empty").mkdir()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "far" / "data").mkdir()
    (tmp_path / "link").symlink_to("far/away")
    furnish(tmp_path / "theirs")
    before = picture(tmp_path)
    for place in PLACES:
        out = () if place is None else ("--out", place)
        result = call("train", *TINY[4:], *FAILURES[failure], *out)
        assert result.code in (1, 2), (place, result)
        assert result.err.count("carousel train: ") == 1
        assert picture(tmp_path) == before, place


def test_what_is_typed_with_dots_is_where_the_system_would_look(
    tmp_path: Path, call: Call, brief: None
) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away")
    before = picture(tmp_path)
    result = call("train", "song.txt", "--out", "link/../run", *QUICK)
    assert result.code == 0, result.err
    assert "run      link/../run\n" in result.err
    assert is_marked(tmp_path / "far" / "run")
    assert call("train", "song.txt", "--out", "absent/../mine", *QUICK).code == 0
    assert is_marked(tmp_path / "mine")
    assert not (tmp_path / "absent").exists()
    assert changed(before, tmp_path) == []
    again = call("train", "song.txt", "--out", "absent/../mine", *QUICK, "--resume")
    assert "resuming absent/../mine from step 2\n" in again.err


def test_what_a_user_puts_there_meanwhile_stays_and_is_said(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def measure(trainer: object) -> float:
        for place in ("letter.txt", "checkpoints/letter.txt", "samples/letter.txt"):
            (tmp_path / "new" / "run" / place).parent.mkdir(exist_ok=True)
            (tmp_path / "new" / "run" / place).write_bytes(THEIRS)
        raise RunError("something fails")

    monkeypatch.setattr(prepared_run, "seconds_per_step", measure)
    result = call("train", "song.txt", "--out", "new/run", *QUICK)
    assert result.code == 1
    assert caplog.messages == ["new/run is kept: checkpoints in it is not Carousel's"]
    left = {name for name in picture(tmp_path / "new") if name.endswith(".txt")}
    assert left == {f"run/{place}letter.txt" for place in ("", "checkpoints/", "samples/")}
    assert not (tmp_path / "new" / "run" / "lock").exists()
    assert not (tmp_path / "new" / "run" / MARK).exists()


def test_a_start_that_finds_the_lock_held_removes_nothing_of_its_holder(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = []

    def measure(trainer: object) -> float:
        before = picture(tmp_path)
        inner.append(call("train", "song.txt", "--out", "new", *QUICK))
        assert picture(tmp_path) == before
        raise RunError("something fails")

    monkeypatch.setattr(prepared_run, "seconds_per_step", measure)
    before = picture(tmp_path)
    assert call("train", "song.txt", "--out", "new", *QUICK).code == 1
    assert inner[0].err.startswith("carousel train: new is in use by another process (pid ")
    assert picture(tmp_path) == before


@pytest.mark.parametrize("own", ["vocabulary.json", "corpus.json", "ids.bin"])
def test_a_folder_of_another_tool_that_is_named_with_a_hash_is_no_prepared_text(
    tmp_path: Path, call: Call, own: str
) -> None:
    theirs = tmp_path / "other" / ("0123456789abcdef" * 2)
    theirs.mkdir(parents=True)
    (theirs / own).write_text('["mine"]')
    before = picture(tmp_path / "other")
    assert call("prepare", "--clear", "--cache-dir", "other").code == 0
    assert picture(tmp_path / "other") == before, "a lock would be new there, too"


# No run is called after dots or flags.


@pytest.mark.parametrize(
    ("text", "run"),
    [("..txt", "text"), ("...txt", "text"), ("....", "text"), ("-x.txt", "x"), ("--.txt", "text")],
)
def test_names_of_runs_are_made_safe_and_said(
    text: str, run: str, tmp_path: Path, call: Call, brief: None
) -> None:
    (tmp_path / text).write_text(TEXT)
    before = picture(tmp_path)
    for name in (run, f"{run}-2"):
        result = call("train", f"./{text}", *QUICK)
        assert result.code == 0, result.err
        assert f"the run is named after {run!r}\n" in result.err
        assert is_marked(tmp_path / "runs" / name)
    resumed = call("train", f"./{text}", *QUICK, "--steps", "3", "--resume")
    assert f"resuming runs/{run}-2 from step 2\n" in resumed.err
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {run, f"{run}-2"}
    assert changed(before, tmp_path) == []


def test_a_name_that_anything_has_is_taken(tmp_path: Path, call: Call, brief: None) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "song").symlink_to("nowhere")
    before = picture(tmp_path)
    assert call("train", "song.txt", *QUICK).code == 0
    assert is_marked(tmp_path / "runs" / "song-2")
    assert changed(before, tmp_path) == []


# Links in a folder that is Carousel's.


@pytest.mark.parametrize("name", ["lock", "samples", "checkpoints", "metrics.jsonl"])
@pytest.mark.parametrize("target", ["../file", "../folder", "nowhere", "pipe"])
def test_a_link_in_a_run_is_refused_by_name(
    name: str, target: str, finished: Path, tmp_path: Path, call: Call
) -> None:
    shutil.copytree(finished, run := tmp_path / "run")
    (tmp_path / "file").write_bytes(THEIRS)
    (tmp_path / "folder").mkdir()
    aside = (run / name).rename(tmp_path / "aside") if (run / name).exists() else None
    os.mkfifo(run / name) if target == "pipe" else (run / name).symlink_to(target)
    before = picture(tmp_path)
    result = call("train", "song.txt", "--out", "run", *QUICK, "--steps", "4", "--resume")
    kind = "a pipe, a socket or a device" if target == "pipe" else "a symbolic link"
    assert result.err.startswith(f"carousel train: --out run/{name} is {kind}, "), result.err
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert picture(tmp_path) == before
    (run / name).unlink()
    if aside:
        aside.rename(run / name)


@pytest.mark.parametrize("target", ["../file", "nowhere"])
def test_links_in_the_place_of_files_that_are_published_are_replaced(
    target: str, finished: Path, tmp_path: Path, call: Call
) -> None:
    shutil.copytree(finished, run := tmp_path / "run")
    (tmp_path / "file").write_bytes(THEIRS)
    (run / "samples").mkdir()
    names = ("loss.png", "loss.svg", "samples/00000004.txt", "last")
    for name in names:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(f"../{target}" if name.startswith("samples") else target)
    (run / "mine.txt").write_bytes(THEIRS)
    arguments = ("--steps", "4", "--sample-every", "2", "--resume")
    result = call("train", "song.txt", "--out", "run", *QUICK, *arguments)
    assert result.code == 0, result.err
    assert (tmp_path / "file").read_bytes() == (run / "mine.txt").read_bytes() == THEIRS
    assert not (run / "nowhere").exists()
    assert [name for name in names if (run / name).is_symlink()] == []


def test_a_link_to_the_folder_itself_is_followed(
    finished: Path, tmp_path: Path, call: Call, brief: None
) -> None:
    shutil.copytree(finished, tmp_path / "disk" / "run")
    (tmp_path / "run").symlink_to("disk/run")
    result = call("train", "song.txt", "--out", "run", *QUICK, "--steps", "4", "--resume")
    assert result.code == 0, result.err
    assert (tmp_path / "disk" / "run" / "last").read_text() == "00000004\n"
    assert (tmp_path / "run").is_symlink()


# Runs of before the mark.


@pytest.mark.parametrize("kind", ["finished", "rescued", "damaged", "with files of the user's"])
def test_a_run_of_before_the_mark_goes_on_and_gets_it(
    kind: str, finished: Path, tmp_path: Path, call: Call, brief: None
) -> None:
    shutil.copytree(finished, run := tmp_path / "run")
    (run / MARK).unlink()
    if kind == "rescued":
        (run / "lock").unlink()
    if kind == "damaged":
        (run / "checkpoints" / "00000001").mkdir()
        (run / "checkpoints" / "00000001" / MANIFEST).touch()
    if kind == "with files of the user's":
        for name in ("notes.txt", "plots/a.png"):
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_bytes(THEIRS)
    before = picture(run)
    refused = call("train", "song.txt", "--out", "run", *QUICK)
    assert "run already holds a run: --resume continues it" in refused.err
    assert set(picture(run)) - set(before) <= {"lock"}
    result = call("train", "song.txt", "--out", "run", *QUICK, "--steps", "4", "--resume")
    assert result.code == 0, result.err
    assert "resuming run from step 2\n" in result.err
    assert is_marked(run)
    for name in ("notes.txt", "plots/a.png"):
        assert kind != "with files of the user's" or (run / name).read_bytes() == THEIRS


def test_a_run_of_before_the_mark_that_saved_nothing_begins_anew(
    tmp_path: Path, call: Call, brief: None
) -> None:
    (tmp_path / "run" / "checkpoints" / ".tmp-00000002-1-01234567").mkdir(parents=True)
    (tmp_path / "run" / "samples").mkdir()
    (tmp_path / "run" / "samples" / "00000001.txt").write_text("half")
    (tmp_path / "run" / "lock").write_text("123")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert call("train", "song.txt", "--out", "run", *QUICK).code == 0
    assert is_marked(tmp_path / "run")
    assert not (tmp_path / "run" / "samples").exists()


def test_a_run_of_a_later_format_is_refused(finished: Path, tmp_path: Path, call: Call) -> None:
    shutil.copytree(finished, run := tmp_path / "run")
    (run / MARK).write_bytes(to_json({"kind": "carousel run", "format": 2}))
    before = picture(run)
    result = call("train", "song.txt", "--out", "run", *QUICK, "--resume")
    assert f"run/{MARK} is of format 2, and this version writes 1: " in result.err
    assert picture(run) == before


# A user's things in Carousel's own folders.


def test_an_old_checkpoint_with_a_user_s_notes_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    for step in (1, 2, 3, 4, 5):
        folder.save(step, {"config.json": bytes([step])}, best=step)
        (folder.checkpoints / f"{step:08d}" / "notes.txt").write_bytes(THEIRS)
    assert folder.saved_steps() == [1, 2, 3, 4, 5]
    assert (
        caplog.messages.count(
            f"{folder.checkpoints / '00000001'} is kept: notes.txt in it is not Carousel's"
        )
        == 1
    )
    folder.rewind(3, validated=3, best=3)
    assert folder.saved_steps() == [1, 2, 3]
    for name in ("00000001", "00000002", "00000003", "00000004-kept", "00000005-kept"):
        assert (folder.checkpoints / name / "notes.txt").read_bytes() == THEIRS


@pytest.mark.parametrize("name", ["1", "0000002", "٠٠٠٠٠٠٠٢", "00000009 copy", "latest"])
def test_a_folder_among_the_checkpoints_that_is_none_stays(name: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    (folder.checkpoints / name).mkdir()
    (folder.checkpoints / "00000007").symlink_to(name)
    before = picture(tmp_path)
    for step in (1, 2, 3, 4):
        folder.save(step, {"config.json": bytes([step])}, best=step)
    folder.rewind(3, validated=3, best=3)
    assert changed(before, tmp_path) == []
    folder.clear()
    assert changed(before, tmp_path) == []


def test_the_samples_of_a_user_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    folder.write_sample(1, "once")
    (folder.root / "samples" / "mine.txt").write_bytes(THEIRS)
    (folder.root / "samples" / "00000002.txt").symlink_to("mine.txt")
    (folder.root / "samples" / "00000003.txt").mkdir()
    folder.clear()
    names = {path.name for path in (folder.root / "samples").iterdir()}
    assert names == {"mine.txt", "00000002.txt", "00000003.txt"}


# The cache of texts.


def test_a_cache_among_somebody_else_s_things_leaves_them_alone(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tmp_path / "theirs")
    (tmp_path / "outside").mkdir()
    before = picture(tmp_path)
    place = ("--cache-dir", "theirs")
    monkeypatch.setattr("carousel.data.cache.RACY", -(10**12))  # old enough for a stamp
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a text from a pipe")))
    begin = time.monotonic()
    for arguments in (["song.txt"], ["-"], ["song.txt"], ["--list"]):
        assert call("prepare", *arguments, *place).code == 0
        assert changed(before, tmp_path) == []
    cleared = json.loads(call("prepare", "--clear", "--json", *place).out)
    assert time.monotonic() - begin < 20
    assert changed(before, tmp_path) == []
    assert len(cleared["removed"]) == 2
    added = {Path(name) for name in set(picture(tmp_path)) - set(before)}
    assert all(path.suffix == ".lock" for path in added), added


@pytest.mark.parametrize("kind", ["stamps is a link", "stamps leads nowhere", "links to itself"])
def test_clearing_follows_no_link(kind: str, tmp_path: Path, call: Call) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / ("0" * 64)).write_text("1" * 64)
    (tmp_path / "mine").mkdir()
    if kind == "links to itself":
        for k in range(30):
            (tmp_path / "mine" / f"loop-{k}").symlink_to(".")
    else:
        target = "../far" if kind == "stamps is a link" else "nowhere"
        (tmp_path / "mine" / "stamps").symlink_to(target)
    before = picture(tmp_path)
    begin = time.monotonic()
    assert call("prepare", "song.txt", "--cache-dir", "mine").code == 0
    assert call("prepare", "--clear", "--cache-dir", "mine").code == 0
    assert time.monotonic() - begin < 20
    assert changed(before, tmp_path) == []
    assert not (tmp_path / "mine" / "nowhere").exists()


def entry_of_the_song(call: Call) -> Path:
    prepared = call("prepare", "song.txt", "--json", "--cache-dir", "mine")
    return Path(json.loads(prepared.out)["folder"])


def test_what_stands_in_the_place_of_a_prepared_text_is_refused(tmp_path: Path, call: Call) -> None:
    folder = entry_of_the_song(call)
    shutil.rmtree(folder)
    for make in (
        lambda: folder.mkdir(),
        lambda: folder.write_bytes(THEIRS),
        lambda: folder.symlink_to("nowhere"),
        lambda: furnish(folder),
    ):
        make()
        before = picture(tmp_path)
        result = call("prepare", "song.txt", "--cache-dir", "mine")
        assert f"carousel prepare: {folder} is in the way, " in result.err
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert picture(tmp_path) == before
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        else:
            shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"theirs", b"12 monkeys", b"1" * 21])
def test_a_file_that_is_no_lock_is_not_written(content: bytes, tmp_path: Path, call: Call) -> None:
    folder = entry_of_the_song(call)
    shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.lock").write_bytes(content)
    before = picture(tmp_path)
    result = call("prepare", "song.txt", "--cache-dir", "mine")
    assert f"{folder}.lock is no lock file of Carousel: it holds no pid; move it away" in result.err
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert call("prepare", "--clear", "--cache-dir", "mine").code == 0
    assert picture(tmp_path) == before


# The compiled kernels, the tales, the results of benchmarks.


def test_what_stands_in_the_place_of_compiled_kernels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_compile", lambda entry, flags: entry.mkdir())
    entry = tmp_path / "entry"
    for make in (lambda: furnish(entry), lambda: entry.mkdir(), lambda: entry.symlink_to("x")):
        make()
        before = picture(tmp_path)
        with pytest.raises(StorageError, match=r"entry is in the way, .*CAROUSEL_KERNEL_CACHE"):
            build._build(entry, [])
        assert changed(before, tmp_path) == []
        entry.unlink() if entry.is_symlink() else shutil.rmtree(entry)
    entry.mkdir()
    (entry / build.LIBRARY).write_bytes(b"damaged")
    build._build(entry, [])
    assert list(entry.iterdir()) == []


def test_tales_that_cannot_be_written_leave_no_file(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(stream: io.TextIOBase, seed: int, characters: int) -> None:
        stream.write("once")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("carousel.tales.write", fails)
    before = picture(tmp_path)
    assert call("tales", "--out", "tales.txt").code == 1
    assert picture(tmp_path) == before


def test_results_replace_only_results(tmp_path: Path) -> None:
    from benchmarks.results_folder import check_results_folder

    check_results_folder(tmp_path / "absent", "--out absent")
    (folder := tmp_path / "results").mkdir()
    check_results_folder(folder, "--out results")
    (folder / "README.md").write_bytes(THEIRS)
    for content in (None, b"{}", b"[]", b"\xff"):
        if content is not None:
            (folder / "figures.json").write_bytes(content)
        with pytest.raises(RunError, match=r"^--out results is not empty and holds no results"):
            check_results_folder(folder, "--out results")
    (folder / "figures.json").write_text('{"machine": {}}')
    check_results_folder(folder, "--out results")
