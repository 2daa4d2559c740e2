"""`carousel tales`: the built-in corpus, on stdout or in a file."""

import re
from pathlib import Path

import pytest

from cli.commands import Call, caller


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


def test_the_tales_go_to_stdout_and_what_is_said_of_them_does_not(call: Call) -> None:
    result = call("tales", "--characters", "3000")
    assert result.code == 0
    assert len(result.out) >= 3000
    assert result.out.isascii()
    assert result.out.endswith("\n\n")
    assert re.fullmatch(r"entropy of the source: 0\.\d{4} nats per character\n", result.err)


def test_the_seed_decides_and_a_file_holds_the_same(call: Call) -> None:
    shown = [call("tales", "--characters", "2000", "--seed", seed).out for seed in "112"]
    assert shown[0] == shown[1] != shown[2]
    written = call("tales", "--characters", "2000", "--seed", "1", "--out", "tales.txt")
    assert (written.code, written.out) == (0, "")
    assert written.err.startswith(f"{len(shown[0]):,} characters in tales.txt\n")
    assert Path("tales.txt").read_bytes().decode("ascii") == shown[0]


def test_mistakes(call: Call) -> None:
    Path("kept.txt").write_text("kept")
    none = call("tales", "--characters", "0", "--out", "kept.txt")
    assert none == (2, "", "carousel tales: --characters must be at least 1, got 0\n")
    assert Path("kept.txt").read_text() == "kept"
    taken = call("tales", "--out", "kept.txt")
    assert taken == (1, "", "carousel tales: kept.txt is there already; name another file\n")
    assert Path("kept.txt").read_text() == "kept"
    nowhere = call("tales", "--out", "no/where.txt")
    assert nowhere == (1, "", "carousel tales: No such file or directory: no/where.txt\n")
