"""Have each process that finds this on PYTHONPATH write down what its heaps hold, when asked.

Python imports a module of this name as it starts. The process writes to a file named by its number
in the folder CAROUSEL_MEMORY_PROBE, one JSON object a line, whenever the file `ask` there changes.
"""

import ctypes
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path


class _MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns: bytes and numbers of blocks, of all its heaps."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _figures() -> dict[str, int]:
    gc.collect()  # what nobody can reach is no growth, only not yet collected
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _MallocInfo
    info = mallinfo2()
    return {
        "heap_in_use": info.uordblks + info.hblkhd,
        "heap_free": info.fordblks,
        "mapped_blocks": info.hblkhd,
        "python_blocks": sys.getallocatedblocks(),
        "threads": threading.active_count(),
    }


def _watch(folder: Path) -> None:
    question = folder / "ask"
    last = None
    while True:
        asked = question.read_text() if question.exists() else None
        if asked != last:
            last = asked
            with (folder / f"{os.getpid()}.jsonl").open("a") as file:
                file.write(json.dumps({"ask": asked, **_figures()}) + "\n")
        time.sleep(0.25)


if folder := os.environ.get("CAROUSEL_MEMORY_PROBE"):
    threading.Thread(target=_watch, args=(Path(folder),), daemon=True).start()
