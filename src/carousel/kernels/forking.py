"""Make it safe to fork after computing: both the parent and the child can go on.

libgomp, which gives torch and the kernels their threads on Linux, keeps the threads of a parallel
loop for the next one. A child of fork inherits the list of them, but not the threads: its first
parallel loop waits for them for ever, that of `torch.nn.LSTM` too. So the threads of the forking
thread are ended just before the fork; parent and child each start new ones when they need them.

Source: OpenMP 5.0, section 3.2.44, omp_pause_resource_all; libgomp, gomp_pause_host in team.c.
"""

import ctypes
import os
from pathlib import Path
from typing import Any

import torch

_SOFT = 1  # omp_pause_soft: what the user has set stays set

_handled = set[int]()  # addresses of functions that are called before every fork


def make_fork_safe(library: Path | None = None) -> None:
    """Have the threads for parallel loops ended before every fork from now on.

    Args:
        library: Whose threads: those of the OpenMP that it was linked with. None: torch's. A second
            library may have brought an OpenMP of its own; one that has none is passed over.
    """
    if not hasattr(os, "register_at_fork"):  # Windows does not fork
        return
    torchs = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    end_threads = _pause_function(library or torchs)
    if end_threads is None:
        return
    address = ctypes.cast(end_threads, ctypes.c_void_p).value
    if address is not None and address not in _handled:
        _handled.add(address)
        os.register_at_fork(before=lambda: end_threads(_SOFT))


def _pause_function(library: Path) -> Any:
    """Return omp_pause_resource_all as a library sees it; None if it sees none."""
    try:  # the search goes on in those that it was linked with
        function = ctypes.CDLL(str(library)).omp_pause_resource_all
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_int
    return function
