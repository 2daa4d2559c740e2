"""The machine: what it is, how busy others keep it, and how fast it multiplies at best."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import carousel
from carousel.machine import available_processors

ROOT = Path(__file__).parents[1]
_REPEATS = 9


def described() -> dict[str, Any]:
    """Return what a reader of the figures must know of the machine and the software."""
    info = _cpuinfo()
    return {
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "kind": kind(),
        "cores": cores(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "multiplies_bf16": bool(torch.cpu.get_capabilities().get("avx512_bf16", False)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "carousel": carousel.__version__,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": load(),
        "load_after": None,
    }


def kind() -> str:
    """Return a name for machines whose ratios can be compared: processor's model, and cores."""
    info = _cpuinfo()
    maker = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(info.get("vendor_id", ""), "")
    if not maker:
        words = f"{platform.system()} {platform.machine()} {platform.processor()}"
        return f"{_slug(words)}-{cores()}-core"
    model = f"{info['cpu family']}-model-{info['model']}"
    return f"{maker}-family-{model}-{_slug(torch.backends.cpu.get_cpu_capability())}-{cores()}-core"


def cores() -> int:
    """Return how many processors this process may use."""
    return available_processors()


def load() -> float | None:
    """Return how many programs wanted to run, on average over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def commit() -> str:
    """Return the commit of the checkout, and whether files differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}, with changes" if changed else head


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Moment(NamedTuple):
    """Seconds: of the clock, of all processors while busy, of ours, and those not given to us."""

    clock: float
    busy: float
    own: float
    stolen: float


def moment() -> Moment | None:
    """Return the counters of now; None where the system does not tell (it is not Linux)."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in line.split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    own = sum(os.times()[:4])
    return Moment(time.perf_counter(), user + nice + system + irq + softirq, own, steal)


def disturbance(before: Moment | None, after: Moment | None) -> tuple[float, float]:
    """Return the part of all processors that others used, and that the hypervisor kept."""
    if before is None or after is None or after.clock <= before.clock:
        return 0.0, 0.0
    whole = (after.clock - before.clock) * (os.cpu_count() or 1)
    others = (after.busy - before.busy - (after.own - before.own)) / whole
    return max(0.0, others), (after.stolen - before.stolen) / whole


def peak(precision: str, sizes: tuple[int, ...] = (512, 1024, 2048)) -> float:
    """Return the GF/s of the quickest square product, by torch.mm or by oneDNN packed.

    The best of nine, not the median: it is what the machine can do.
    """
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    return max(rate for size in sizes for rate in _rates(size, kind))


def _rates(size: int, kind: torch.dtype) -> list[float]:
    a, b = (torch.randn(size, size, dtype=kind) for _ in range(2))
    out = torch.empty(size, size, dtype=kind)
    calls: list[Callable[[], Tensor]] = [lambda: torch.mm(a, b, out=out)]
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        of_onednn = torch.ops.mkldnn
        packed = of_onednn._reorder_linear_weight(b, size)
        calls.append(lambda: of_onednn._linear_pointwise(a, packed, None, "none", [], ""))
    with torch.no_grad():
        return [2e-9 * size**3 / _best(call) for call in calls]


def _best(call: Callable[[], Tensor]) -> float:
    call()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
