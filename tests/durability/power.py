"""What a disk may hold after a loss of power: every state that the recorded operations allow.

The model is POSIX at its most pessimistic, not one file system: what was not fsynced may be there
or not, each operation for itself, in any order.

- A file's name is a matter of its folder, its content one of the file. fsync of the one says
  nothing of the other.
- Of the changes to a folder's names since its fsync, any subset may have happened. A rename is one
  change: never is a file under both names or none.
- Of the writes to a file since its fsync, any number from the first on may have happened, the last
  of them in half; and any one, or all, may be zeros instead: the length reached the disk, the data
  did not.

Source: Pillai et al. 2014, All File Systems Are Not Created Equal (OSDI), sections 2 and 3 (the
abstract persistence model); Mohan et al. 2018, Finding Crash-Consistency Bugs with Bounded
Black-Box Crash Testing (OSDI), for bounded traces that end in every possible place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

from durability.disk import Operation

Tree = tuple[tuple[str, Any], ...]  # (name, bytes or Tree), sorted: what a disk holds

MOST = 13  # changes to one folder of which all 2^n subsets are enumerated


@dataclass(eq=False)
class File:
    """A file: bytes known to be on disk, and the writes since."""

    durable: bytes = b""
    pending: list[bytes] = field(default_factory=list)

    @property
    def live(self) -> bytes:
        return self.durable + b"".join(self.pending)

    def sync(self) -> None:
        self.durable, self.pending = self.live, []

    def outcomes(self) -> set[bytes]:
        return {self.durable + tail for tail in _tails(self.pending)}


def _tails(writes: list[bytes]) -> Iterator[bytes]:
    yield b""
    for count, last in enumerate(writes):
        before = b"".join(writes[:count])
        yield before + last[: len(last) // 2]
        yield before + last
    yield bytes(sum(map(len, writes)))
    for zeroed in range(len(writes)):
        yield b"".join(bytes(len(w)) if k == zeroed else w for k, w in enumerate(writes))


Node = Any  # File or Folder
Change = dict[str, Node]  # names that one operation gives or, with None, takes


@dataclass(eq=False)
class Folder:
    """A folder: names known to be on disk, and the changes since."""

    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    @property
    def live(self) -> dict[str, Node]:
        return _changed(self.durable, self.pending)

    def sync(self) -> None:
        self.durable, self.pending = self.live, []

    def outcomes(self) -> Iterator[Tree]:
        for changes in _subsets(self.pending):
            entries = sorted(_changed(self.durable, changes).items())
            for found in product(*(list(node.outcomes()) for _, node in entries)):
                yield tuple((name, tree) for (name, _), tree in zip(entries, found, strict=True))

    def tree(self) -> Tree:
        """What programs see as long as the power is on."""
        return tuple(
            (name, node.live if isinstance(node, File) else node.tree())
            for name, node in sorted(self.live.items())
        )


def _changed(entries: dict[str, Node], changes: Any) -> dict[str, Node]:
    entries = dict(entries)
    for change in changes:
        entries |= change
    return {name: node for name, node in entries.items() if node is not None}


def _subsets(changes: list[Change]) -> Iterator[Any]:
    """All of them; of very many, which only code that forgets fsync leaves open, some."""
    for size in range(len(changes), -1, -1) if len(changes) <= MOST else _few(len(changes)):
        yield from combinations(changes, size)


def _few(count: int) -> list[int]:
    return [count, count - 1, 1, 0]


class Volume:
    """A disk that replays a trace.

    Args:
        root: What stands for its topmost folder; all names before it are on disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = Folder()
        self._path = root
        self._open: dict[int, Node] = {}  # by descriptor

    def replay(self, operation: Operation) -> None:
        """Do what an operation of the trace did."""
        name, path, new, descriptor, data = operation
        if name == "look":
            self._open[descriptor] = self._node(path)
        elif name == "write":
            self._open[descriptor].pending.append(data)
        elif name == "fsync":
            self._open[descriptor].sync()
        elif name in ("rename", "replace"):
            assert path is not None
            assert new is not None
            assert path.parent == new.parent
            change = {path.name: None, new.name: self._node(path)}
            self._node(path.parent).pending.append(change)
        else:
            assert path is not None
            made = {"open": File, "mkdir": Folder}.get(name, lambda: None)()
            self._node(path.parent).pending.append({path.name: made})
            if name == "open":
                self._open[descriptor] = made

    def damage(self, path: Path, data: bytes) -> None:
        """Let a file's content on disk become other, as it does without any program's doing."""
        node = self._node(path)
        node.durable, node.pending = data, []

    def outcomes(self) -> Iterator[Tree]:
        """Return each state that a loss of power now may leave; some come more than once."""
        return self.root.outcomes()

    def _node(self, path: Path | None) -> Node:
        assert path is not None
        if not path.is_relative_to(self._path):
            return Folder()  # somebody else's
        node: Node = self.root
        for name in path.relative_to(self._path).parts:
            node = node.live[name]
        return node


def write_tree(folder: Path, tree: Tree) -> None:
    """Make a real folder of a state."""
    folder.mkdir()
    for name, found in tree:
        if isinstance(found, bytes):
            (folder / name).write_bytes(found)
        else:
            write_tree(folder / name, found)


def read_tree(folder: Path) -> Tree:
    return tuple(
        (path.name, read_tree(path) if path.is_dir() else path.read_bytes())
        for path in sorted(folder.iterdir())
    )
