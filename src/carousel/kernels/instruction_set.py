"""The vector instructions that the CPU kernels may use: the processor's, or fewer.

| name | instructions | processors, for example |
|---|---|---|
| avx2 | 256-bit vectors, FMA, F16C | AMD Zen 1 to 3, Intel Haswell |
| avx512 | 512-bit vectors, VNNI | Intel Ice Lake |
| avx512_bf16 | and products of bfloat16 | AMD Zen 4 and 5, Intel Cooper Lake |
| amx | and products of bfloat16 tiles | Intel Sapphire Rapids |

CAROUSEL_CPU limits the kernels to one of these names, for tests and to compare processors. It does
not limit torch's libraries: `make test-machines` does that with the variables of their own.
"""

import os

import torch

from carousel.errors import CarouselError
from carousel.torch_internals import TorchVersionError, cpu_features

INSTRUCTION_SETS = ("avx2", "avx512", "avx512_bf16", "amx")  # each includes those before it
NO_LIMIT = "default"


class InstructionSetError(CarouselError):
    """The kernels have no code for this processor, or CAROUSEL_CPU names what it does not have."""


def instruction_set() -> str:
    """Return the name of the widest instruction set that the kernels may use.

    Raises:
        InstructionSetError: If the processor has none of them, or if CAROUSEL_CPU is no such name
            or beyond the processor.
    """
    widest = of_processor()
    limit = os.environ.get("CAROUSEL_CPU") or NO_LIMIT
    if limit == NO_LIMIT:
        return widest
    if limit not in INSTRUCTION_SETS:
        names = ", ".join((NO_LIMIT, *INSTRUCTION_SETS))
        raise InstructionSetError(f"CAROUSEL_CPU must be one of {names}; got {limit!r}")
    if INSTRUCTION_SETS.index(limit) > INSTRUCTION_SETS.index(widest):
        raise InstructionSetError(f"CAROUSEL_CPU is {limit}, but this processor has {widest} only")
    return limit


def of_processor() -> str:
    """Return the name of the widest instruction set of the processor, as torch sees it.

    torch obeys ATEN_CPU_CAPABILITY in what it calls the capability, not in the list of features.

    Raises:
        InstructionSetError: If it has none of them.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX2":
        return "avx2"
    if capability != "AVX512":
        raise InstructionSetError(f"the kernels need AVX2 or AVX512; this processor: {capability}")
    features = cpu_features()
    if features.get("amx_bf16", False):
        return "amx"
    return "avx512_bf16" if features.get("avx512_bf16", False) else "avx512"


def multiplies_bf16() -> bool:
    """Return whether the kernels may multiply bfloat16 natively; False where there are none."""
    try:
        return INSTRUCTION_SETS.index(instruction_set()) >= INSTRUCTION_SETS.index("avx512_bf16")
    except (InstructionSetError, TorchVersionError):
        return False
