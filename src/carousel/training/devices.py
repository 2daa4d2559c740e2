"""The device that a model is trained on, and its memory. Imports torch inside functions only."""

from carousel.errors import ConfigError, UsageError
from carousel.machine import available_memory

DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 1024  # OpenMP takes memory for each, and ends the process where there is none


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no machine has; None leaves the choice to the run."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads must be in [1, {MOST_THREADS:,}], got {threads}")


def choose_device(device: str) -> str:
    """Turn auto into CUDA where there is one, else the CPU.

    Raises:
        UsageError: If the device asked for is not there.
    """
    import torch

    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device not in DEVICES:
        raise UsageError(f"--device must be one of {', '.join(DEVICES)}, got {device!r}")
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    if device == "cuda" and not has_cuda:
        raise UsageError("--device cuda: this torch sees no CUDA device; --device cpu works")
    if device == "mps" and not has_mps:
        raise UsageError("--device mps: this machine has no Apple GPU; --device cpu works")
    return device


def memory_of(device: str) -> int | None:
    """Return the bytes of memory of a device; None where nobody says."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory
    return available_memory()
