"""Which processors `make test-machines` emulates, and with which environment."""

import pytest

from tools import test_machines
from tools.test_machines import LIMITS, Machine, Outcome, environment, plan, table


def processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_machines, "of_processor", lambda: name)


@pytest.mark.parametrize(
    ("name", "emulated"),
    [
        ("avx2", ["default"]),
        ("avx512", ["default", "avx2"]),
        ("avx512_bf16", ["default", "avx2", "avx512"]),
        ("amx", ["default", "avx2", "avx512", "avx512_bf16"]),
    ],
)
def test_narrower_processors_are_emulated_and_the_others_named(
    name: str, emulated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(name, monkeypatch)
    machines, left_out = plan(is_quick=False, only=None, threads=[1, 2])
    assert machines == [Machine(each, count) for each in emulated for count in (1, 2)]
    assert left_out.pop(name) == "the same as default here"
    assert set(left_out) == {"avx2", "avx512", "avx512_bf16", "amx"} - {*emulated, name}


@pytest.mark.parametrize(
    ("name", "second"), [("avx2", "avx2"), ("avx512", "avx512"), ("amx", "avx512")]
)
def test_the_quick_form_has_two_machines(
    name: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(name, monkeypatch)
    machines, _ = plan(is_quick=True, only=None, threads=[1, 2])
    assert machines == [Machine("avx2", 1), Machine(second, 2)]


def test_torch_and_the_kernels_are_limited_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("CAROUSEL_CPU", "avx2")
    for name, limits in LIMITS.items():
        env = environment(Machine(name, 2))
        assert env.items() >= limits.items()
        assert (env["CAROUSEL_CPU"], env["OMP_NUM_THREADS"]) == (name, "2")
    free = environment(Machine("default", 1))
    assert "ONEDNN_MAX_CPU_ISA" not in free
    assert free["CAROUSEL_CPU"] == "default"


def test_the_table_counts_machines_and_names_one_where_nothing_ran() -> None:
    lines = list(
        table(
            [
                Outcome(Machine("avx2", 1), 7, 1, 2, 61.4, is_ok=False),
                Outcome(Machine("avx512", 2), 0, 0, 0, 3.0, is_ok=False),
            ]
        )
    )
    assert lines[1].split() == ["avx2", "1", "7", "1", "2", "61"]
    assert lines[2].endswith("no tests ran: see above")
    assert lines[3] == "7 passed, 1 failed"
