"""How many processors and how much memory this process may use, which can be less than there are.

A container or a batch system limits a process by an affinity mask (taskset, cpusets) and by control
groups (`docker --cpus --memory`, Kubernetes, systemd). Python and torch look at the mask at most.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst, "CPU" and "Memory"; for version 1
Documentation/scheduler/sched-bwc.rst and Documentation/admin-guide/cgroup-v1/memory.rst.
"""

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")  # where proc and the control groups are mounted; tests put another folder here


def available_processors() -> int:
    """Return how many processors this process can keep busy, at least 1.

    It is the number in the affinity mask, or the quota of the control groups, rounded up: a quota
    of 1.5 processors keeps two threads busy for three quarters of the time.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *map(ceil, _cpu_quotas())]))


def compute_threads() -> int:
    """Return how many threads to compute with: OMP_NUM_THREADS, else `available_processors`.

    OMP_NUM_THREADS may be a list, one number for each level of nested threads; the first counts.
    What is no number is passed over, as OpenMP does.
    """
    asked = re.fullmatch(r"\s*(\d+)\s*(,.*)?", os.environ.get("OMP_NUM_THREADS", ""))
    return int(asked[1]) if asked and int(asked[1]) else available_processors()


def available_memory() -> int | None:
    """Return how many bytes of memory this process may use; None where the system does not say.

    It is the memory of the machine, or the least limit of the control groups.
    """
    limits = list(_memory_limits())
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _cpu_quotas() -> Iterator[Fraction]:
    """Yield the quota of each control group around this process, in processors."""
    for group in _groups("cpu"):
        if group.version == 2:
            words = _words(group.folder / "cpu.max")
        else:
            words = [
                *_words(group.folder / "cpu.cfs_quota_us"),
                *_words(group.folder / "cpu.cfs_period_us"),
            ]
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):  # max, -1
            yield Fraction(int(words[0]), int(words[1]))


def _memory_limits() -> Iterator[int]:
    """Yield the limits of each control group around this process, in bytes."""
    for group in _groups("memory"):
        # Beyond memory.high the process is not ended, but slowed down until it holds less.
        names = ["memory.max", "memory.high"] if group.version == 2 else ["memory.limit_in_bytes"]
        for word in (word for name in names for word in _words(group.folder / name)):
            if word.isdecimal() and int(word):
                yield int(word)


class _Group(NamedTuple):
    """A control group that holds this process: a folder of files, and whose rules they follow."""

    folder: Path
    version: int


class _Mount(NamedTuple):
    """A mounted hierarchy of control groups, and the group at its mount point."""

    point: Path
    root: Path


def _groups(controller: str) -> Iterator[_Group]:
    """Yield the groups of this process that may limit something: the innermost first."""
    try:
        lines = (ROOT / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = list(_mounts(controller))
    except (OSError, ValueError):  # not Linux, or proc is not mounted
        return
    for line in lines:  # hierarchy:controllers:path
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "?", "")
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        for mount in (mount for of_version, mount in mounts if of_version == version):
            yield from (_Group(folder, version) for folder in _upwards(mount, Path(path)))


def _upwards(mount: _Mount, path: Path) -> Iterator[Path]:
    """Yield the folder of a group, and those of the groups around it, up to where it is mounted.

    A container may see its own group as the root: the path is then of a place that it cannot see,
    and the mount itself is its group.
    """
    inner = path.relative_to(mount.root) if path.is_relative_to(mount.root) else Path()
    if ".." in inner.parts:
        inner = Path()
    for part in (inner, *inner.parents):
        yield mount.point / part


def _mounts(controller: str) -> Iterator[tuple[int, _Mount]]:
    """Yield where groups with a controller are mounted, each with the version of its rules."""
    for line in (ROOT / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        # 36 35 0:32 /root /point rw,relatime shared:1 - cgroup cgroup rw,cpu
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        root, point = map(_unescaped, fields[3:5])
        mount = _Mount(ROOT / point.lstrip("/"), Path(root))
        if kind[0] == "cgroup2":
            yield 2, mount
        elif kind[0] == "cgroup" and controller in kind[-1].split(","):
            yield 1, mount


def _unescaped(path: str) -> str:
    """Return a path of mountinfo, in which a space is written as a backslash and 040."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)


def _words(file: Path) -> list[str]:
    """Return the words in a file of a control group; none if there is no such file."""
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
