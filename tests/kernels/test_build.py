"""How the library comes about: once, whole or not at all, and what happens where it cannot."""

import logging
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from carousel.kernels import build

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
    flags = build.compiler_flags()
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
    with pytest.raises(build.BuildError, match=r"broken failed: x\.cpp:1: error: no such thing"):
        build.library()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(build.BuildError, match=r"CXX names \S+none, and there is no such program"):
        build.library()


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
    run = program(CAROUSEL_KERNEL_CACHE=str(tmp_path / "file" / "cache"))
    reason = f"{tmp_path / 'file' / 'cache'} cannot be written (File exists)"
    assert run.stdout == f"{reason}: let CAROUSEL_KERNEL_CACHE name a folder that can be\n"


def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "VSX")
    with pytest.raises(build.BuildError, match="need Linux and AVX2 or AVX512; this is linux, VSX"):
        build.library()
