"""The C++ compiler: its flags for this processor, and the library it makes of the sources.

The compiler is called as it stands: no Python headers, no setuptools.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from carousel.errors import CarouselError
from carousel.kernels.instruction_set import instruction_set
from carousel.machine import available_processors
from carousel.torch_internals import untested_note

_TORCH = Path(torch.__file__).parent
_PLAIN = ["-O3", "-std=c++20", "-fPIC", "-fopenmp", "-fno-strict-aliasing", "-w"]
_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = [f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "cd", "vnni")]
# What torch's headers call the vectors, and the compiler's flags, as torch itself is compiled.
# Tiles of AMX need no flag: oneDNN generates that code while it runs.
_TARGETS = {
    "avx2": ("AVX2", _AVX2),
    "avx512": ("AVX512", [*_AVX2, *_AVX512]),
    "avx512_bf16": ("AVX512", [*_AVX2, *_AVX512, "-mavx512bf16"]),
    "amx": ("AVX512", [*_AVX2, *_AVX512, "-mavx512bf16"]),
}


class BuildError(CarouselError):
    """There is no library, and the message says why: no compiler, an unknown processor, …."""


def compiler_flags() -> list[str]:
    """Return the flags for this processor, or for the fewer instructions that CAROUSEL_CPU allows.

    Raises:
        BuildError: If the system is not Linux.
        InstructionSetError: If the processor is unknown, or CAROUSEL_CPU asks for what it lacks.
    """
    if sys.platform != "linux":
        raise BuildError(f"the kernels need Linux, and this is {sys.platform}")
    capability, flags = _TARGETS[instruction_set()]
    return [*_PLAIN, *flags, f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]


def compiler() -> list[str]:
    """Return the C++ compiler: CXX, else what the PATH has.

    Raises:
        BuildError: If there is none, or CXX names none.
    """
    try:
        chosen = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise BuildError(f"CXX is no command line: {error}") from None
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise BuildError(f"CXX names {chosen[0]}, and there is no such program")
        return chosen
    for name in ("g++", "clang++", "c++"):
        if found := shutil.which(name):
            return [found]
    raise BuildError("no C++ compiler found; g++, or another one named by CXX, would do")


def compile_library(folder: Path, flags: list[str], library: Path) -> None:
    """Compile the sources of a folder, link them into a library; leave nothing else beside it.

    Raises:
        BuildError: If there is no compiler, or it fails.
    """
    command = compiler()
    include = [_TORCH / "include", _TORCH / "include" / "torch" / "csrc" / "api" / "include"]
    flags = [*flags, f"-I{folder}", *(f"-isystem{path}" for path in include)]
    shares = _share_out(list(folder.glob("*.cpp")))
    units = [_write_unit(library.with_name(f"unit_{i}.cpp"), s) for i, s in enumerate(shares)]
    objects = [unit.with_suffix(".o") for unit in units]
    _run_all(
        [
            [*command, *flags, "-c", str(unit), "-o", str(target)]
            for unit, target in zip(units, objects, strict=True)
        ]
    )
    libraries = [f"-L{_TORCH / 'lib'}", "-ltorch_cpu", "-lc10", "-fopenmp"]
    _run_all([[*command, "-shared", *map(str, objects), "-o", str(library), *libraries]])
    for path in units + objects:
        path.unlink()


def _share_out(sources: list[Path]) -> list[list[Path]]:
    """Share sources out over two units of compilation of about the same size.

    Each unit parses torch's headers once, which takes longer than most of our files. The number of
    units is fixed, so that a machine's number of processors cannot change what is computed.
    """
    units: list[list[Path]] = [[], []]
    for path in sorted(sources, key=lambda path: (-path.stat().st_size, path.name)):
        min(units, key=lambda unit: sum(each.stat().st_size for each in unit)).append(path)
    return [sorted(unit) for unit in units if unit]


def _write_unit(unit: Path, sources: list[Path]) -> Path:
    lines = [f'#include "{path.name}"\n' for path in sources]
    unit.write_text("".join(lines), encoding="utf-8")
    return unit


def _run_all(commands: list[list[str]]) -> None:
    """Run commands side by side, as many as there are processors for them."""
    waiting = list(commands)
    running: list[subprocess.Popen[bytes]] = []
    try:
        while waiting or running:
            while waiting and len(running) < available_processors():
                running.append(_started(waiting.pop(0)))
            _, errors = running[0].communicate()
            if running.pop(0).returncode != 0:
                said = errors.decode(errors="replace").strip().splitlines() or ["it said nothing"]
                line = next((line for line in said if "error: " in line), said[-1])
                note = untested_note(torch.__version__)
                raise BuildError(f"{commands[0][0]} failed: {line}{note}")
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise BuildError(f"{command[0]} does not start: {error.strerror}") from error
