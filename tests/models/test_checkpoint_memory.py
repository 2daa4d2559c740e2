"""Refusing a damaged checkpoint costs no more than twice its model file in memory, and a second.

Measured in a process of its own on a model of 17 or 66 MB: how far its resident memory rose at most
while one file was loaded (VmHWM, which Linux sets back on request).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from budgets import amount, torture
from carousel.models.checkpoint import model_files, write_checkpoint
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from models.checkpoints import rewrite, tensor_file
from models.small_models import vocabulary

CLEAR = Path("/proc/self/clear_refs")
pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the highest memory in use"),
]
HIDDEN = amount(1_000, 2_000)
SIZES = {"embedding_size": 64, "hidden_size": HIDDEN, "initialization": "torch"}
SECONDS = 1.0
SLACK = 1_000_000  # bytes: of an interpreter at work
# Every large block is the system's and goes back at once; else one load would live on another's.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}

PROGRAM = """
import json, re, sys, time
from pathlib import Path

from carousel.errors import CheckpointError
from carousel.models.checkpoint import load_model

def memory(line):
    return 1024 * int(re.search(line + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def load(folder):
    try:
        return load_model(Path(folder))
    except CheckpointError as error:
        return str(error)

load(sys.argv[1])  # whatever is imported or set up the first time is no part of it
for folder in sys.argv[1:]:
    Path("/proc/self/clear_refs").write_text("5")
    before, begin = memory("VmRSS"), time.perf_counter()
    result = load(folder)
    seconds, rise = time.perf_counter() - begin, memory("VmHWM") - before
    print(json.dumps([result if isinstance(result, str) else None, seconds, rise]), flush=True)
    del result
"""


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Model files of the same size or less, each wrong in another way."""
    begin = 8 + int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8:begin]), data[begin:]

    def changed(change: Callable[[dict[str, Tensor]], object]) -> bytes:
        weights = safetensors.torch.load(data)
        change(weights)
        return safetensors.torch.save(weights)

    large = "body.recurrence.weight_hh_l0"
    yield "another shape", changed(lambda w: w.update({large: w[large].view(HIDDEN, -1)}))
    yield "another type", changed(lambda w: w.update({large: w[large].view(torch.int32)}))
    yield "one missing", changed(lambda w: w.pop("output.bias"))
    yield "one more", changed(lambda w: w.update({"another": torch.zeros(1)}))
    yield "another name", changed(lambda w: w.update({"another": w.pop(large)}))
    yield "half a type", changed(lambda w: w.update({k: v.half() for k, v in w.items()}))
    yield "cut off", data[: len(data) // 2]
    yield "longer", data + bytes(1_000)
    huge = header | {"x": {"dtype": "F32", "shape": [1 << 50], "data_offsets": [0, 1 << 52]}}
    yield "a huge one", tensor_file(huge, numbers)
    rows = dict.fromkeys((f"x{k}" for k in range(100)), header[large])
    yield "many in one place", tensor_file(header | rows, numbers)
    yield "all header", (len(data) - 8).to_bytes(8, "little") + data[8:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints, each with one damage; the first is whole."""
    parent = tmp_path_factory.mktemp("large")
    model = build(ModelConfig(**SIZES), len(vocabulary()))
    files = model_files(model, vocabulary(), {"model": SIZES})
    files |= {"trainer.safetensors": bytes(2 * len(files["model.safetensors"]))}
    made = {"whole": parent / "whole"}
    write_checkpoint(made["whole"], files)
    for name, data in damaged(files["model.safetensors"]):
        made[name] = parent / name
        made[name].mkdir()
        for path in made["whole"].iterdir():
            if path.name in ("model.safetensors", "manifest.json"):
                (made[name] / path.name).write_bytes(path.read_bytes())
            else:
                (made[name] / path.name).hardlink_to(path)
        rewrite(made[name], "model.safetensors", data)
    for culprit in ("model.safetensors", "trainer.safetensors"):
        name = f"a bit of {culprit}"
        made[name] = parent / name
        made[name].mkdir()
        for path in made["whole"].iterdir():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= path.name == culprit
            (made[name] / path.name).write_bytes(data)
    return made


@torture
def test_memory_and_time_of_refusing(folders: dict[str, Path]) -> None:
    size = (folders["whole"] / "model.safetensors").stat().st_size
    assert size > amount(15_000_000, 60_000_000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders.values())],
        env=os.environ | ALLOCATOR,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(zip(folders, map(json.loads, done.stdout.splitlines()), strict=True))
    message, _, rise = found.pop("whole")
    assert message is None
    # Its bytes and its tensors, however much of a trainer's state lies beside.
    assert rise <= 2 * size + SLACK, f"{rise / size:.2f} times the file"
    for name, (message, seconds, rise) in found.items():
        assert message is not None, f"{name} was loaded"
        culprit = "trainer" if "trainer" in name else "model"
        assert f"{folders[name]}/{culprit}.safetensors" in message
        assert seconds <= SECONDS, f"{name}: {seconds:.2f} s"
        assert rise <= 2 * size, f"{name}: {rise / size:.2f} times the file"
