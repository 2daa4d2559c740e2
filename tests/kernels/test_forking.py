"""A process that forks after it has computed: its children compute, too, with as many threads."""

import os
import subprocess
import sys

import pytest
import torch

from carousel.kernels import fused

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# A program, so that a child that waits for ever cannot hold up the tests, and with two threads.
PROGRAM = """
import multiprocessing, sys, torch, carousel
from pathlib import Path
from torch.utils.data import DataLoader
from carousel.kernels import fused
from carousel.models.language_model import build
from carousel.models.config import ModelConfig
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.request import Request

torch.set_num_threads(2)
fork = multiprocessing.get_context("fork")
x = torch.randn(20, 64, 32)
torch.manual_seed(0)
layer = carousel.LSTM(32, 128)
nns = torch.nn.LSTM(32, 128)

def forward(module=layer):
    with torch.no_grad():
        return float(module(x)[0].sum())

def backward(module=layer):
    module.zero_grad()
    module(x)[0].sum().backward()
    return float(module.weight_hh_l0.grad.sum())

def in_bf16():
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        return float(layer(x)[0].sum())

def decode():
    torch.manual_seed(0)
    model = build(ModelConfig(embedding_size=16, hidden_size=64), 12).eval()
    engine = Engine(model)
    sampling = SamplingConfig(seed=3)
    for key in range(8):
        engine.add(key, Request(prompt=[1, 2], length=30, sampling=sampling, sample=key))
    while engine.run(1.0):
        pass
    return [each.ids for each in engine.outputs()]

class Data(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, index): return backward()

def threads(_):
    return backward(), torch.get_num_threads()

def in_child(work):
    ours, theirs = fork.Pipe()
    child = fork.Process(target=lambda: theirs.send(work()))
    child.start()
    if not ours.poll(60):
        child.kill()
        sys.exit("the child hangs")
    result = ours.recv()
    child.join()
    return result

def agree(found, wanted):
    assert found == wanted, (found, wanted)
"""

WAYS = {
    "forward": "agree(in_child(forward), forward())",
    "backward": "agree(in_child(backward), backward())",
    "backward of torch.nn": "agree(in_child(lambda: backward(nns)), backward(nns))",
    "decoding": "agree(in_child(decode), decode())",
    "a grandchild": "agree(in_child(lambda: (backward(), in_child(backward))[1]), backward())",
    "a pool": (
        "expected = backward()\n"
        "with fork.Pool(2) as pool:\n"
        "    agree(pool.map_async(threads, range(4)).get(60), [(expected, 2)] * 4)"
    ),
    "workers of a DataLoader": (
        "expected = backward()\n"
        "loader = DataLoader(Data(), batch_size=None, num_workers=2, timeout=60,\n"
        "                    multiprocessing_context=fork)\n"
        "values = [float(value) for value in loader]\n"
        "assert len(values) == 4 and all(abs(v / expected - 1) < 1e-4 for v in values), values"
    ),
    "bf16": "agree(in_child(in_bf16), in_bf16())",
}


def run(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + code],
        env=os.environ | {"OMP_NUM_THREADS": "2"} | changes,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_child_computes_what_its_parent_does(way: str) -> None:
    if way == "bf16" and (why := fused.unavailable_reason(torch.bfloat16)):
        pytest.skip(f"no bfloat16: {why}")
    result = run(f"backward(); decode(); backward(nns)\n{WAYS[way]}\nbackward()")
    assert result.returncode == 0, result.stderr[-2000:]


def test_without_kernels_a_child_computes_too() -> None:
    result = run("backward()\nagree(in_child(backward), backward())", CAROUSEL_KERNELS="off")
    assert result.returncode == 0, result.stderr[-2000:]


FORKS_AMONG_THREADS = """
import threading
torch.set_num_threads(1)
small, few, is_over = carousel.LSTM(4, 16), torch.randn(1, 4, 4), threading.Event()

def compute():
    with torch.no_grad():
        while not is_over.is_set():
            small(few)

others = [threading.Thread(target=compute) for _ in range(3)]
for other in others:
    other.start()
try:
    for _ in range(10):  # the first while the kernels are being loaded
        in_child(lambda: float(small(few)[0].sum()))
finally:
    is_over.set()
"""


def test_a_child_computes_though_other_threads_were_at_it() -> None:
    result = run(FORKS_AMONG_THREADS, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr[-2000:]
