"""Loss of power at any moment of saving leaves a run that can be read and resumed.

Every operation of a run's saves is recorded; after each of them, every state that the disk could be
in (durability.power) is put into a real folder, and is held against what saves that had returned
promised: first as a reader finds it, then as the next process puts it in order.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from budgets import TORTURE, amount, torture
from durability.disk import Disk, Killed, Operation, killed_at, mounted, scratch
from durability.power import MOST, Folder, Tree, Volume, read_tree, write_tree
from durability.runs_on_disk import (
    LONG,
    NOTHING,
    SHORT,
    Save,
    check_after_start,
    check_as_found,
    damage,
    play,
)

SAVES = LONG if TORTURE else SHORT[:3]


class Losses:
    """Counts the states after which nothing was lost; the first bad one ends the test.

    Attributes:
        seen: States that were checked, each with what was promised.
        widest: Most changes that were open in one folder.
    """

    def __init__(self, top: Path, scratch: Path) -> None:
        self.volume = Volume(top)
        self.seen: set[tuple[Tree, Save, bool]] = set()
        self.widest = 0
        self._scratch = scratch

    def after(self, operation: Operation, promised: Save, *, are_pointers_sound: bool) -> None:
        """Replay an operation, and check each state that a loss of power then may leave."""
        self.volume.replay(operation)
        self.check(promised, are_pointers_sound=are_pointers_sound, where=str(operation))

    def check(self, promised: Save, *, are_pointers_sound: bool, where: str) -> None:
        self.widest = max(self.widest, _widest(self.volume.root))
        for tree in self.volume.outcomes():
            key = (tree, promised, are_pointers_sound)
            if key not in self.seen:
                self.seen.add(key)
                self._check_one(*key, where)

    def _check_one(self, tree: Tree, promised: Save, are_sound: bool, where: str) -> None:
        write_tree(self._scratch, tree)
        run = self._scratch / "run"
        try:
            check_as_found(run, promised, are_pointers_sound=are_sound)
            check_after_start(run, promised)
        except Exception as error:
            shape = _shape(tree)
            raise AssertionError(f"after {where}, {promised} promised: {shape}") from error
        shutil.rmtree(self._scratch)


def _widest(node: object) -> int:
    if not isinstance(node, Folder):
        return 0
    return max([len(node.pending), *map(_widest, node.live.values())])


def _shape(tree: Tree) -> object:
    return {n: len(t) if isinstance(t, bytes) else _shape(t) for n, t in tree}


def recorded(run: Path, saves: tuple[Save, ...]) -> Iterator[tuple[list[Operation], Save]]:
    """Start or go on; yield the operations of the start and of each save, and what they promise."""
    with mounted(Disk()) as disk:
        for promised in play(run, saves):
            yield disk.trace[:], promised
            disk.trace.clear()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with scratch(tmp_path) as folder:
        yield folder


@pytest.fixture
def losses(tmp_path: Path) -> Iterator[Losses]:
    (tmp_path / "top").mkdir()
    found = Losses(tmp_path / "top", tmp_path / "scratch")
    yield found
    assert found.widest <= MOST, "not all subsets were enumerated"


@torture
def test_no_save_is_lost(losses: Losses, tmp_path: Path) -> None:
    """From the first to the last, and on after a restart that finds the last one damaged."""
    top, before = tmp_path / "top", NOTHING
    for trace, promised in recorded(top / "run", SAVES):
        for operation in trace:
            losses.after(operation, before, are_pointers_sound=True)
        before = promised
        losses.check(before, are_pointers_sound=True, where="a save returned")
    assert losses.volume.root.tree() == read_tree(top), "the model is not what happened"

    last, fallback = SAVES[-1], SAVES[-2]
    damage(checkpoint := top / "run" / "checkpoints" / f"{last.step:08d}")
    losses.volume.damage(checkpoint / "weights.bin", b"damaged")
    before, are_sound = fallback, False
    for trace, promised in recorded(top / "run", (last,)):
        for operation in trace:
            losses.after(operation, before, are_pointers_sound=are_sound)
        before, are_sound = promised, True
        losses.check(before, are_pointers_sound=True, where="a save returned")
    assert losses.volume.root.tree() == read_tree(top), "the model is not what happened"
    assert len(losses.seen) >= amount(quick=400, full=5000)
    sys.stdout.write(f"{len(losses.seen)} states, 0 bad\n")


@torture
def test_no_save_is_lost_after_a_kill(tmp_path: Path) -> None:
    """What a killed process had not fsynced is seen by the next one, but may not be on disk."""
    saves = SAVES[: amount(quick=2, full=3)]
    attempts: list[Operation] = []
    with mounted(Disk(attempts.append)):
        list(play(tmp_path / "whole", saves))
    # Quick: only where a name is new and its fsync missing.
    kills = [
        number
        for number, operation in enumerate(attempts, start=1)
        if TORTURE or operation.name in ("mkdir", "rename")
    ]
    states = 0
    for number in kills:
        top = tmp_path / str(number) / "top"
        top.mkdir(parents=True)
        losses, returned = Losses(top, top.parent / "scratch"), [NOTHING]
        with mounted(Disk(killed_at(number))) as disk, suppress(Killed):
            returned.extend(play(top / "run", saves))
        before = returned[-1]
        for operation in disk.trace:
            losses.volume.replay(operation)
        for trace, promised in islice(recorded(top / "run", SAVES), 2):  # the start, one save
            for operation in trace:
                losses.after(operation, before, are_pointers_sound=True)
            before = promised
            losses.check(before, are_pointers_sound=True, where="it returned")
        assert losses.widest <= MOST, "not all subsets were enumerated"
        states += len(losses.seen)
        shutil.rmtree(top.parent)
    assert states >= amount(quick=300, full=30_000)
    sys.stdout.write(f"{states} states after {len(kills)} kills, 0 bad\n")
