"""The memory that the kernels keep for later calls: what a loop needs, and no more than that."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import carousel
from carousel.kernels import fused
from carousel.kernels.fused import MemoryUsage, memory_usage

pytestmark = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)

MEGABYTE = 2**20
LENGTHS = (306, 235, 181, 139, 107, 82, 63, 48, 37)  # each too short for the blocks of the last


class Trainer:
    """Steps of an LSTM on sequences of any length."""

    def __init__(self) -> None:
        self.layer = carousel.LSTM(32, 128)

    def step(self, length: int) -> None:
        output, _ = self.layer(torch.randn(length, 32, 32))
        output.sum().backward()
        self.layer.zero_grad()


@pytest.fixture
def trainer() -> Trainer:
    fused.limit_idle_memory(0)  # nothing is left of other tests
    fused.limit_idle_memory(2**40)
    return Trainer()


def are_kept(before: MemoryUsage, steps: int) -> bool:
    """Tell whether steps made nothing anew.

    Of several threads, some blocks for a while: they need their scratch memory at the same moment
    in one step, and one after the other in another. What is lost in each step is still seen.
    """
    made = memory_usage().allocations - before.allocations
    return made == 0 if torch.get_num_threads() == 1 else made < steps / 4


def test_a_loop_of_equal_steps_allocates_once(trainer: Trainer) -> None:
    for _ in range(3):
        trainer.step(200)
    before = memory_usage()
    assert before.live == 0
    assert before.idle > 16 * MEGABYTE
    for _ in range(40):
        trainer.step(200)
    assert memory_usage().live == 0
    assert are_kept(before, steps=40)


def test_two_alternating_lengths_allocate_once(trainer: Trainer) -> None:
    for _ in range(3):
        trainer.step(200)
        trainer.step(40)
    before = memory_usage()
    for _ in range(10):
        trainer.step(200)
        trainer.step(40)
    assert are_kept(before, steps=20)


def test_many_lengths_keep_no_more_than_the_longest_needs(trainer: Trainer) -> None:
    trainer.step(400)
    longest = memory_usage().idle
    assert longest > 30 * MEGABYTE
    for length in LENGTHS:
        trainer.step(length)
        assert memory_usage().idle <= 1.3 * longest
    for length in range(40, 400, 7):
        trainer.step(length)
        assert memory_usage().idle <= 1.3 * longest


def test_what_one_long_sequence_needed_is_forgotten(trainer: Trainer) -> None:
    trainer.step(900)
    longest = memory_usage().idle
    assert longest > 60 * MEGABYTE
    for _ in range(5):
        trainer.step(100)
    assert memory_usage().idle > 0.8 * longest, "too soon: it may come again"
    for _ in range(400):
        trainer.step(100)
    assert memory_usage().idle <= 17 * MEGABYTE


def test_a_limit_frees_what_is_idle_now_and_later(trainer: Trainer) -> None:
    trainer.step(200)
    assert memory_usage().idle > 10 * MEGABYTE
    fused.limit_idle_memory(MEGABYTE)
    assert memory_usage().idle <= MEGABYTE
    trainer.step(200)
    assert memory_usage().idle <= MEGABYTE
    assert memory_usage().live == 0


def test_tensors_that_live_are_nobody_elses(trainer: Trainer) -> None:
    fused.limit_idle_memory(0)
    kept = [carousel.LSTM(4, 8)(torch.ones(5, 2, 4))[0] for _ in range(3)]
    values = [output.detach().clone() for output in kept]
    for length in LENGTHS:
        trainer.step(length)
    assert all(torch.equal(a, b) for a, b in zip(kept, values, strict=True))


IN_A_CONTAINER = """
import sys
from pathlib import Path
from carousel import machine
machine.ROOT = Path(sys.argv[1])
import torch, carousel
from carousel.kernels.fused import memory_usage
layer = carousel.LSTM(32, 128)
layer(torch.randn(400, 32, 32))[0].sum().backward()
print(memory_usage().idle)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_an_eighth_of_a_containers_limit_lies_idle_at_most(version: int, tmp_path: Path) -> None:
    group = "0::/\n" if version == 2 else "3:memory:/docker/x\n"
    mount = (
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        if version == 2
        else "35 31 0:32 /docker/x /sys/fs/cgroup rw - cgroup cgroup rw,memory\n"
    )
    files = {"proc/self/cgroup": group, "proc/self/mountinfo": mount}
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"

    def idle(limit: str) -> int:
        for path, text in {**files, f"sys/fs/cgroup/{name}": limit}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        command = [sys.executable, "-c", IN_A_CONTAINER, str(tmp_path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert idle(str(64 * MEGABYTE)) <= 8 * MEGABYTE
    assert idle(str(2**40)) > 16 * MEGABYTE
