"""How many processors and how much memory a process may use, by files as Linux shows them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from carousel import machine

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
)
NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 processors and 64 GiB."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    sizes = {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 2**12}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)


def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, mounts: str, **files: str
) -> None:
    """Let the process see these control groups; in names of files __ stands for a slash."""
    content = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    content |= {name.replace("__", "/"): text for name, text in files.items()}
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "ROOT", tmp_path)


def write(tmp_path: Path, folder: str, **files: str) -> None:
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_control_groups_it_is_the_affinity_and_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)  # there is no proc at all
    assert machine.available_processors() == 16
    assert machine.available_memory() == 2**36
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert machine.available_processors() == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("6400000 100000", 16),
        ("damaged", 16),
        ("0 0", 16),
        ("", 16),
    ],
)
def test_a_quota_of_version_2_is_rounded_up(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(tmp_path, monkeypatch, "0::/job\n", V2)
    write(tmp_path, "job", cpu__max=quota)
    assert machine.available_processors() == expected


def test_the_least_limit_of_the_groups_around_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(tmp_path, monkeypatch, "0::/slice/job/step\n", V2)
    write(tmp_path, "slice", cpu__max="300000 100000", memory__max=str(2**33), memory__high="max")
    write(tmp_path, "slice/job", cpu__max="max 100000", memory__max="max")
    write(tmp_path, "slice/job/step", cpu__max="500000 100000", memory__max=str(2**34))
    assert machine.available_processors() == 3
    assert machine.available_memory() == 2**33
    write(tmp_path, "slice/job", memory__high=str(2**31))
    assert machine.available_memory() == 2**31


def test_a_container_sees_its_own_group_as_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(tmp_path, monkeypatch, "0::/\n", V2)
    write(tmp_path, ".", cpu__max="200000 100000", memory__max=str(2**30))
    assert machine.available_processors() == 2
    assert machine.available_memory() == 2**30


@pytest.mark.parametrize("path", ["/docker/abc", "/docker/abc/inner", "/", "/../other"])
@pytest.mark.parametrize("root", ["/docker/abc", "/"])
def test_version_1_in_a_container_however_its_group_is_mounted(
    root: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = f"5:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:/x\n0::/x\n"
    host(tmp_path, monkeypatch, groups, V1.format(root=root))
    write(tmp_path, "memory", memory__limit_in_bytes=str(2**31))
    write(tmp_path, "memory/inner", memory__limit_in_bytes=NO_LIMIT_V1)
    quota = {"cpu__cfs_quota_us": "250000\n", "cpu__cfs_period_us": "100000\n"}
    write(tmp_path, "cpu,cpuacct", **quota)
    assert machine.available_processors() == 3
    assert machine.available_memory() == 2**31


def test_version_1_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host(tmp_path, monkeypatch, "5:memory:/a\n4:cpu:/a\n", V1.format(root="/"))
    write(tmp_path, "memory/a", memory__limit_in_bytes=NO_LIMIT_V1)
    write(tmp_path, "cpu,cpuacct/a", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert machine.available_processors() == 16
    assert machine.available_memory() == 2**36


def test_both_versions_at_once_and_a_mount_with_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = V1.format(root="/") + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/all\\040of\\040it")
    host(tmp_path, monkeypatch, "5:memory:/a\n0::/b\n", mounts)
    write(tmp_path, "memory/a", memory__limit_in_bytes=str(2**32))
    write(tmp_path, "all of it/b", cpu__max="400000 100000")
    assert machine.available_processors() == 4
    assert machine.available_memory() == 2**32


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("3", 3), (" 5 ", 5), ("2,4,1", 2), ("64", 64), ("", 16), ("0", 16), ("many", 16), ("-2", 16)],
)
def test_omp_num_threads_counts_where_it_is_a_number(
    asked: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert machine.compute_threads() == expected
    assert machine.available_processors() == 16


ON_HALF_A_PROCESSOR = """
import os, sys
from pathlib import Path
from carousel import machine
machine.ROOT = Path(sys.argv[1])
import torch
torch.set_num_threads(4)  # as torch counts on a machine of four
import carousel.server.worker as worker
from carousel.cli import console
from carousel.kernels import compiler
from carousel.data import parallel
console.use_available_processors()
print("train and eval", torch.get_num_threads())
print("compiler", compiler.available_processors())
print("text", parallel.available_processors())
worker._prepare = lambda *_: sys.exit(f"worker {torch.get_num_threads()}")
worker.signal.signal = lambda *_: None
torch.set_num_threads(4)
worker.main(["story", "--name", "story"])
"""


def test_every_part_that_starts_threads_knows_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(tmp_path, monkeypatch, "0::/\n", V2)
    write(tmp_path, ".", cpu__max="50000 100000")
    result = subprocess.run(
        [sys.executable, "-c", ON_HALF_A_PROCESSOR, str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    said = [*result.stdout.splitlines(), *result.stderr.splitlines()]
    assert [line for line in said if line[-1:].isdigit()] == [
        *("train and eval 1", "compiler 1", "text 1", "worker 1"),
    ], said
