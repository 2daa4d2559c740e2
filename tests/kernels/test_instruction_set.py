"""Which instructions the kernels are compiled for, on every kind of processor."""

from typing import NamedTuple

import pytest

from carousel.kernels import build, compiler
from carousel.kernels.instruction_set import (
    INSTRUCTION_SETS,
    InstructionSetError,
    instruction_set,
    multiplies_bf16,
)


class Processor(NamedTuple):
    """What torch reports of a processor: its capability, and two of its features."""

    capability: str
    avx512_bf16: bool
    amx_bf16: bool


PROCESSORS = {
    "avx2": Processor("AVX2", avx512_bf16=False, amx_bf16=False),
    "avx512": Processor("AVX512", avx512_bf16=False, amx_bf16=False),
    "avx512_bf16": Processor("AVX512", avx512_bf16=True, amx_bf16=False),
    "amx": Processor("AVX512", avx512_bf16=True, amx_bf16=True),
}


def run_on(processor: Processor, monkeypatch: pytest.MonkeyPatch, limit: str | None = None) -> None:
    """Let torch report this processor, and limit the kernels to some instructions."""
    features = {"avx512_bf16": processor.avx512_bf16, "amx_bf16": processor.amx_bf16}
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: processor.capability)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: features)
    monkeypatch.delenv("CAROUSEL_CPU", raising=False)
    if limit is not None:
        monkeypatch.setenv("CAROUSEL_CPU", limit)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("limit", [None, "", "default"])
def test_without_a_limit_the_processor_decides(
    name: str, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(PROCESSORS[name], monkeypatch, limit)
    assert instruction_set() == name
    assert multiplies_bf16() == (name in ("avx512_bf16", "amx"))


@pytest.mark.parametrize("limit", INSTRUCTION_SETS)
def test_a_limit_gives_the_flags_of_that_processor(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(PROCESSORS[limit], monkeypatch)
    flags, multiplies = compiler.compiler_flags(), multiplies_bf16()
    run_on(PROCESSORS["amx"], monkeypatch, limit)
    assert (compiler.compiler_flags(), multiplies_bf16()) == (flags, multiplies)
    assert any(flag.startswith("-mavx512") for flag in flags) == (limit != "avx2")
    assert ("-mavx512bf16" in flags) == multiplies


def test_torch_limited_to_avx2_limits_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATEN_CPU_CAPABILITY=avx2 changes the capability, but not the processor's features."""
    run_on(Processor("AVX2", avx512_bf16=True, amx_bf16=True), monkeypatch)
    assert instruction_set() == "avx2"
    assert not multiplies_bf16()


@pytest.mark.parametrize(
    ("processor", "limit", "message"),
    [
        ("avx2", "avx512", "CAROUSEL_CPU is avx512, but this processor has avx2 only"),
        ("avx512", "amx", "CAROUSEL_CPU is amx, but this processor has avx512 only"),
        (
            "amx",
            "AVX2",
            "CAROUSEL_CPU must be one of default, avx2, avx512, avx512_bf16, amx; got 'AVX2'",
        ),
    ],
)
def test_a_limit_that_cannot_be_met_is_refused(
    processor: str, limit: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(PROCESSORS[processor], monkeypatch, limit)
    with pytest.raises(InstructionSetError, match=f"^{message}$"):
        compiler.compiler_flags()
    assert not multiplies_bf16()


def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run_on(Processor("VSX", avx512_bf16=False, amx_bf16=False), monkeypatch)
    message = "^the kernels need AVX2 or AVX512; this processor: VSX$"
    with pytest.raises(InstructionSetError, match=message):
        build.library()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(compiler.BuildError, match=r"^the kernels need Linux, and this is darwin$"):
        build.library()
