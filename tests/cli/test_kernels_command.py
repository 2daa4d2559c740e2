"""`carousel kernels`: what it says where kernels run, could run, and cannot; what it builds."""

import json
import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from carousel.kernels import build, compiler, fused
from carousel.kernels.instruction_set import multiplies_bf16
from cli.commands import Call, Result, caller, environment

# In a compiler's place: writes the file that -o names.
STAND_IN = '#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\necho object > "$2"\n'
FAMILIES = ["rnn tanh", "rnn relu", "gru", "gru reset before", "lstm"]
REASON = "no C++ compiler found; g++, or another one named by CXX, would do"

needs_kernels = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    monkeypatch.delenv("CAROUSEL_KERNELS", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it."""
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def stand_in(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that only pretends; the cache is empty."""
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(program))
    return program


def facts(result: Result) -> dict[str, str]:
    """The lines above the table, by their first word."""
    assert result.code == 0, result.err
    head, _ = result.out.split("\n\n")
    return dict(line.split(maxsplit=1) for line in head.splitlines())


def table(result: Result) -> dict[str, list[str]]:
    """What runs each recurrence, in each type of products, and why no kernel."""
    _, heading, *lines = result.out[result.out.index("\n\n") :].splitlines()[1:]
    assert heading.split() == ["recurrence", "float32", "bfloat16"]
    rows = (re.split(r"  +", line, maxsplit=3) for line in lines)
    return {name: rest for name, *rest in rows}


@needs_kernels
def test_status_says_what_runs(call: Call) -> None:
    result = call("kernels", "status")
    said, rows = facts(result), table(result)
    limit = os.environ.get("CAROUSEL_CPU", "default")
    cpu = "" if limit == "default" else f", CAROUSEL_CPU={limit}"
    assert said["setting"] == f"CAROUSEL_KERNELS=auto{cpu}"
    assert said["processor"].startswith(torch.backends.cpu.get_cpu_capability())
    assert said["kernels"] == "run"
    assert build.is_whole(Path(said["library"]).parent)
    has_bf16 = fused.unavailable_reason(torch.bfloat16) is None
    for name in FAMILIES:
        assert rows[name][:2] == ["kernel", "kernel" if has_bf16 else "bptt"]
    assert rows["lstm peephole"] == ["bptt", "bptt", "there is no kernel with w_cf, w_ci, w_co"]
    assert rows["lstm 1997"] == ["bptt", "bptt", "there is no kernel for lstm_1997"]
    assert max(map(len, result.out.splitlines()[6:])) <= 100


@needs_kernels
def test_status_as_json(call: Call) -> None:
    found = json.loads(call("kernels", "status", "--json").out)
    assert found["is_compiled"]
    assert found["unavailable_reason"] is None
    assert [
        name for name, of in found["unsupported_reasons"].items() if of["float32"] is None
    ] == FAMILIES
    assert found["multiplies_bf16"] is multiplies_bf16()


def test_status_names_a_limit_and_what_is_wrong_with_it(
    call: Call, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CPU", "avx2")
    limited = facts(call("kernels", "status"))
    assert limited["setting"] == "CAROUSEL_KERNELS=auto, CAROUSEL_CPU=avx2"
    assert limited["processor"].endswith("does not multiply bfloat16 natively")
    monkeypatch.setenv("CAROUSEL_CPU", "avx3")
    wrong = "CAROUSEL_CPU must be one of default, avx2, avx512, avx512_bf16, amx; got 'avx3'"
    assert facts(call("kernels", "status"))["kernels"] == f"none runs: {wrong}"
    assert call("kernels", "build") == (1, "", f"carousel kernels: {wrong}\n")


@needs_kernels
def test_status_leaves_the_log_as_it_was(call: Call) -> None:
    """Whatever runs in the same process afterwards still warns."""
    logger = logging.getLogger("carousel")
    before = logger.level
    call("kernels", "status")
    assert logger.level == before
    assert logger.getChild("server").isEnabledFor(logging.WARNING)


def test_a_kernel_that_fails_when_it_is_run_is_no_kernel(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise RuntimeError("it broke\nhere")

    monkeypatch.setitem(fused.INFER, torch.float32, fails)
    rows = table(call("kernels", "status"))
    if (missing := fused.unavailable_reason(torch.bfloat16)) is None:
        want = ["bptt", "kernel", "float32: it broke"]
    else:
        want = ["bptt", "bptt", f"float32: it broke; bfloat16: {missing}"]
    assert all(rows[name] == want for name in FAMILIES)


def test_status_compiles_nothing(call: Call, stand_in: Path, empty: Path) -> None:
    result = call("kernels", "status")
    said, rows = facts(result), table(result)
    later = "not compiled yet; compiled on first use or by carousel kernels build"
    assert said["kernels"] == later
    assert said["compiler"] == str(stand_in)
    assert said["library"].startswith(f"would be {empty}")
    assert all(rows[name] == ["not yet", "not yet"] for name in FAMILIES)
    assert rows["lstm coupled"][:2] == ["bptt", "bptt"]
    assert result.err == ""
    assert not empty.exists()
    found = json.loads(call("kernels", "status", "--json").out)
    assert (found["is_compiled"], found["unavailable_reason"]) == (False, later)


@pytest.mark.parametrize("setting", ["off", "on"])
def test_status_where_they_are_off(
    setting: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", setting)
    monkeypatch.delenv("CAROUSEL_CPU", raising=False)
    result = call("kernels", "status")
    why = f"CAROUSEL_KERNELS={setting}"
    assert facts(result)["setting"] == why
    wrong = f"CAROUSEL_KERNELS must be 'auto' or 'off', got {setting!r}"
    assert facts(result)["kernels"] == f"none runs: {why if setting == 'off' else wrong}"
    assert all(table(result)[name] == ["bptt", "bptt"] for name in FAMILIES)
    assert result.err == ""


def test_without_a_compiler_both_say_so(
    call: Call, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    result = call("kernels", "status")
    assert facts(result)["compiler"] == "none"
    assert facts(result)["kernels"] == f"none runs: {REASON}"
    assert all(table(result)[name] == ["bptt", "bptt"] for name in FAMILIES)
    assert call("kernels", "build") == (1, "", f"carousel kernels: {REASON}\n")
    monkeypatch.setenv("CXX", "/no/such/thing -O3")
    named = "CXX names /no/such/thing, and there is no such program"
    assert facts(call("kernels", "status"))["kernels"] == f"none runs: {named}"
    assert call("kernels", "build") == (1, "", f"carousel kernels: {named}\n")


def test_a_cache_that_cannot_be_written_is_one_line(
    call: Call, tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(tmp_path / "file" / "cache"))
    result = call("kernels", "build")
    assert (result.code, result.out) == (1, "")
    folder = tmp_path / "file" / "cache"
    help = "let CAROUSEL_KERNEL_CACHE name a folder that can be"
    assert result.err == f"carousel kernels: {folder} cannot be written (File exists): {help}\n"


@needs_kernels
def test_what_is_compiled_is_not_compiled_again(call: Call) -> None:
    result = call("kernels", "build")
    library = build.cache_folder() / build.key(compiler.compiler_flags()) / build.LIBRARY
    assert result == (0, "", f"compiled already: {library}\n")
    found = json.loads(call("kernels", "build", "--json").out)
    assert found == {"library": str(library), "was_there": True, "unavailable_reason": None}


def test_building_says_how_long_it_takes_and_where_it_lies(
    tmp_path: Path, stand_in: Path, empty: Path
) -> None:
    """In a program of its own: what the stand-in gives cannot be loaded, and that is a failure."""
    surroundings = environment(tmp_path, CXX=str(stand_in), CAROUSEL_KERNELS="auto")
    assert surroundings["CAROUSEL_KERNEL_CACHE"] == str(empty)
    result = command_with(surroundings, tmp_path, "kernels", "build")
    first, second, third = result.err.splitlines()
    assert first == "compiling the CPU kernels, once for this processor: half a minute …"
    assert re.fullmatch(rf"compiled the CPU kernels in \d+ s; they are kept in {empty}/\w+", second)
    assert third.startswith("no CPU kernels, the layers run without: ")
    assert (result.code, result.out) == (1, "")
    again = command_with(surroundings | {"CAROUSEL_KERNELS": "off"}, tmp_path, "kernels", "build")
    assert again.code == 0
    assert re.fullmatch(
        rf"compiled already: {empty}/\w+/kernels\.so\n"
        "note: the layers do without: CAROUSEL_KERNELS=off\n",
        again.err,
    )


def command_with(surroundings: dict[str, str], cwd: Path, *arguments: str) -> Result:
    done = subprocess.run(
        [sys.executable, "-m", "carousel", *arguments],
        cwd=cwd,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_mistakes(call: Call) -> None:
    for arguments in ([], ["bild"]):
        result = call("kernels", *arguments)
        assert (result.code, result.out) == (2, "")
        assert re.fullmatch(r"carousel kernels: .*build.*status.*\n", result.err)
