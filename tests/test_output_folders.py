"""Which folders are recognised as what Carousel writes, and which belong to a text."""

import json
import shutil
from pathlib import Path

import pytest

from carousel.data.corpus import prepare
from carousel.data.sources import find_files
from carousel.models.checkpoint_files import write_checkpoint
from carousel.output_folders import kind_of_output
from carousel.training.run_mark import write_mark

ROW = {"bytes": 1, "sha256": "0" * 64}


def run(folder: Path) -> None:
    write_mark(folder)
    (folder / "lock").write_text("1")
    (folder / "samples").mkdir()
    (folder / "samples" / "00000001.txt").write_text("once")


def prepared(folder: Path) -> None:
    text = folder.parent / "text"
    text.write_text("once upon a time")
    corpus = prepare([text], cache=folder.parent / "made")
    shutil.copytree(corpus.folder, folder)
    shutil.rmtree(folder.parent / "made")
    text.unlink()


def checkpoint(folder: Path) -> None:
    folder.rmdir()
    write_checkpoint(folder, {"config.json": b"{}", "model.safetensors": b"\xff"})


def files(*names: str):
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).write_text("x")

    return write


OUTPUTS = {
    "a run": ("run", run),
    "a checkpoint": ("model", checkpoint),
    "stamps of prepared texts": ("stamps", files("0" * 64, "1" * 64)),
    "compiled kernels": ("5" * 64, files("kernels.so", "sha256")),
    "a forecast": ("f", files(*(f"forecast.{e}" for e in ("csv", "json", "png", "svg")))),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_carousel_writes_is_left_out_of_a_text(tmp_path: Path, kind: str) -> None:
    name, write = OUTPUTS[kind]
    folder = tmp_path / "below" / name
    folder.mkdir(parents=True)
    write(folder)
    (tmp_path / "text.txt").write_text("text")
    told: list[tuple[Path, str]] = []
    found = find_files([tmp_path], left_out=lambda *each: told.append(each))
    assert found == [tmp_path / "text.txt"]
    assert told == [(folder, kind)]


def test_a_prepared_text_and_locks_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / ("3" * 32)
    prepared(folder)
    (tmp_path / f"{'3' * 32}.lock").write_text("12")
    (tmp_path / "stdin-1.lock").write_text("12")
    (tmp_path / "yarn.lock").write_text("12")
    assert kind_of_output(folder) == "a prepared text"
    assert find_files([tmp_path]) == [tmp_path / "yarn.lock"]


def test_a_cache_is_left_out_by_any_path_unless_it_is_the_folder_itself(tmp_path: Path) -> None:
    for name in ("a/text", "cache/kept", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    cache = tmp_path / "a" / ".." / "cache"
    assert find_files([tmp_path], caches=[cache]) == [tmp_path / "a/text", tmp_path / "b"]
    assert find_files([cache], caches=[cache]) == [cache / "kept"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("carousel-run.json", json.dumps({"kind": "another", "format": 1})),
        ("carousel-run.json", json.dumps({"kind": "carousel run"})),
        ("carousel-run.json", "[" * 100_000),
        ("carousel-run.json", '{"kind": "carousel run", "format": ' + "9" * 5000 + "}"),
        ("carousel-run.json", " " * 5000 + json.dumps({"kind": "carousel run", "format": 1})),
        ("manifest.json", json.dumps({"files": {"a.txt": ROW}})),
        ("manifest.json", json.dumps({"files": ["config.json", "model.safetensors"]})),
        ("corpus.json", json.dumps({"version": 1, "sha256": "", "checksums": {}})),
        ("kernels.so", "x"),
        ("forecast.json", "{}"),
    ],
)
def test_what_is_no_output_of_carousel_belongs_to_the_text(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).write_text(content)
    assert find_files([tmp_path]) == [tmp_path / "below" / name]
