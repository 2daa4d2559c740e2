"""How the library comes about: once, whole or not at all, and what happens where it cannot."""

import hashlib
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from carousel.errors import CarouselError
from carousel.kernels import build, compiler, fused

# In a compiler's place: notes that it was called, and writes the file that -o names.
STAND_IN = """#!/bin/sh
echo "$@" >> "{log}"
sleep 0.05
while [ "$1" != "-o" ]; do shift; done
echo object > "$2"
"""

LAYER = """
import torch, carousel
from carousel.kernels import fused
for _ in range(2):
    carousel.LSTM(4, 5)(torch.randn(3, 2, 4))[0].sum().backward()
print(fused.status()["float32"])
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calls of a compiler that only pretends, in a cache of its own."""
    log, program = tmp_path / "calls", tmp_path / "stand-in"
    program.write_text(STAND_IN.format(log=log))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(program))
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(tmp_path / "cache"))
    return log


def compiled(calls: Path) -> int:
    """How often all has been compiled: each time ends with one call that links."""
    lines = calls.read_text().splitlines() if calls.exists() else []
    return sum("-shared" in line.split() for line in lines)


def program(**changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LAYER],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), "CAROUSEL_KERNELS": "auto"}
        | changes,
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_second_build_is_a_hit(calls: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "carousel"):
        first = build.library()
    assert first.read_text() == "object\n"
    assert sorted(path.name for path in first.parent.iterdir()) == ["kernels.so", "sha256"]
    assert [record.message.split(" the ")[0] for record in caplog.records] == [
        "compiling",
        "compiled",
    ]
    assert build.library() == first
    assert compiled(calls) == 1


def test_builds_side_by_side_compile_once(calls: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = {future.result() for future in [pool.submit(build.library) for _ in range(6)]}
    assert len(found) == 1
    assert compiled(calls) == 1


def test_programs_side_by_side_compile_once(calls: Path) -> None:
    code = "from carousel.kernels import build; print(build.library())"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    programs = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert len({program.communicate()[0] for program in programs}) == 1
    assert compiled(calls) == 1


@pytest.mark.parametrize("name", [build.LIBRARY, build.SHA256])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_library_is_compiled_anew(calls: Path, name: str, damage: str) -> None:
    path = build.library()
    harmed = path.with_name(name)
    if damage == "gone":
        harmed.unlink()
    else:
        data = harmed.read_bytes()
        harmed.write_bytes(data[:-3] if damage == "cut" else data[:-2] + b"?" + data[-1:])
    assert build.library() == path
    assert build.is_whole(path.parent)
    assert compiled(calls) == 2


def test_the_name_depends_on_sources_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = compiler.compiler_flags()
    names = {build.key(flags), build.key([*flags, "-g"])}
    copy = tmp_path / "cpu"
    copy.mkdir()
    for path in build._SOURCES.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(build, "_SOURCES", copy)
    assert build.key(flags) in names
    (copy / "lstm.cpp").write_bytes(b" " + (copy / "lstm.cpp").read_bytes())
    assert build.key(flags) not in names


def test_a_compiler_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(compiler.BuildError, match=r"broken failed: x\.cpp:1: error: no such thing"):
        build.library()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(
        compiler.BuildError, match=r"CXX names \S+none, and there is no such program"
    ):
        build.library()


def test_kernels_load_wherever_they_can_be_compiled() -> None:
    """On every processor: else all tests of kernels are skipped, and nobody sees it."""
    try:
        compiler.compiler()
        compiler.compiler_flags()
    except CarouselError as error:
        pytest.skip(f"cannot be compiled here: {error}")
    if os.environ.get("CAROUSEL_KERNELS", "auto") == "off":
        pytest.skip("CAROUSEL_KERNELS=off")
    assert fused.unavailable_reason(torch.float32) is None


def test_without_a_compiler_the_layers_run_without_kernels_and_say_so_once(tmp_path: Path) -> None:
    reason = "no C++ compiler found; g++, or another one named by CXX, would do"
    run = program(PATH="", CXX="", CAROUSEL_KERNEL_CACHE=str(tmp_path / "cache"))
    assert run.stdout.splitlines() == [reason]
    assert run.stderr.splitlines() == [f"no CPU kernels, the layers run without: {reason}"]


def test_what_cannot_be_loaded_is_done_without(calls: Path) -> None:
    run = program()
    assert "kernels.so" in run.stdout
    *_, last = run.stderr.splitlines()
    assert last.startswith("no CPU kernels, the layers run without: ")
    assert "file too short" in last


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "cache"
    run = program(CAROUSEL_KERNEL_CACHE=str(folder))
    reason = f"{folder} cannot be written (File exists)"
    assert run.stdout.startswith(reason)
    assert run.stdout.endswith("let CAROUSEL_KERNEL_CACHE name a folder that can be\n")


# A cache in which others can write: a library planted there would run as this user.

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners")


@pytest.fixture
def not_yet_said() -> Iterator[None]:
    build._private_folder.cache_clear()
    yield
    build._private_folder.cache_clear()


@posix
@pytest.mark.usefixtures("not_yet_said")
@pytest.mark.parametrize("level", ["cache", "above"])
def test_a_planted_library_in_a_folder_of_everybody_is_not_used(
    level: str, calls: Path, tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "above" / "cache"
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(cache))
    planted = build.library()
    (cache if level == "cache" else cache.parent).chmod(0o777)
    with caplog.at_level(logging.WARNING, "carousel"):
        found = build.library()
    assert found.parent.name == planted.parent.name
    assert not found.is_relative_to(cache)
    assert found.parents[1].stat().st_mode & 0o777 == 0o700
    assert compiled(calls) == 2
    assert build.library() == found  # compiled once
    said = [r.message for r in caplog.records if "can be written by everybody" in r.message]
    assert len(said) == 1
    assert planted.read_text() == "object\n"  # what is not ours stays


@posix
@pytest.mark.usefixtures("not_yet_said")
def test_the_private_folder_is_gone_when_the_process_ends(calls: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    code = "from carousel.kernels import build; print(build.library())"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert not Path(ended.stdout.strip()).parents[1].exists()
    assert ended.stderr.count("can be written by everybody") == 1
    assert list(cache.iterdir()) == []


@posix
def test_a_folder_open_to_a_group_becomes_private_and_is_compiled_anew(calls: Path) -> None:
    library = build.library()
    library.write_text("planted\n")
    library.with_name(build.SHA256).write_text(hashlib.sha256(b"planted\n").hexdigest())
    cache = library.parents[1]
    (cache / "letter.txt").write_text("of the user's")
    cache.chmod(0o775)
    assert build.library() == library
    assert library.read_text() == "object\n"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert (cache / "letter.txt").exists()
    assert compiled(calls) == 2


@posix
@pytest.mark.parametrize("name", [".", build.LIBRARY, build.SHA256])
def test_an_entry_that_others_can_write_is_compiled_anew(calls: Path, name: str) -> None:
    library = build.library()
    (library.parent / name).chmod(0o777)
    assert build.library() == library
    assert compiled(calls) == 2
    assert not (library.parent / name).stat().st_mode & 0o022


@posix
def test_no_umask_leaves_the_cache_open(calls: Path) -> None:
    before = os.umask(0)
    try:
        library = build.library()
    finally:
        os.umask(before)
    assert build.library() == library
    assert compiled(calls) == 1
    for path in (library, library.with_name(build.SHA256), *library.parents[:2]):
        assert not path.stat().st_mode & 0o022, path


@posix
def test_a_pipe_in_the_place_of_a_library_is_damage(calls: Path) -> None:
    library = build.library()
    library.unlink()
    os.mkfifo(library)
    assert not build.is_whole(library.parent)
