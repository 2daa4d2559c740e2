"""A folder full of somebody else's things that have Carousel's names, and a picture of a tree."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

HEX = "0123456789abcdef"
THEIRS = b"somebody else's"

FILES = (
    *("lock", "lock-holder", "best", "last", "metrics.jsonl", "loss.png", "loss.svg", "notes"),
    *("samples/00000002.txt", "checkpoints/model.pt", "checkpoints/00000001/weights.bin"),
    *(".tmp-best-1-01234567", ".tmp-mine", "...", "-x", "stdin-1.lock", f"{HEX * 2}.lock"),
    *(f"{HEX * 2}/holiday.jpg", f"{'7' * 32}", f"stamps/{HEX * 4}", "Samples/a", "forecast.csv"),
    *("figures.json", "README.md", "kernels.so", "sha256", "manifest.json", "config.json"),
)
LINKS = {
    **{"self": ".", "above": "..", "dangling": "nowhere", "outside": "../outside"},
    **{f"loop-{k}": "." for k in range(3)},
    **{"stdin-2.lock": "notes", f"{'5' * 32}": "samples", f"{'6' * 32}.lock": "notes"},
}


def furnish(folder: Path) -> Path:
    """Fill a folder with files, links, a pipe, dots, twins of other case and odd bytes."""
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(THEIRS)
    for name, target in LINKS.items():
        with suppress(OSError):  # Windows asks for a privilege
            (folder / name).symlink_to(target)
    (folder / ("2" * 32)).mkdir()  # empty, and called like a prepared text
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
        (folder / os.fsdecode(b"odd-\xff\xfe")).write_bytes(THEIRS)
    for name in ("Lock", "LOCK", "Best", "CHECKPOINTS"):
        if not os.path.lexists(folder / name):  # where upper and lower case differ
            (folder / name).write_bytes(THEIRS)
    return folder


def picture(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, permissions and content of everything below a folder; no link is followed."""
    seen: dict[str, tuple[object, ...]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            content = ""
            if stat.S_ISLNK(mode):
                content = str(path.readlink())
            elif stat.S_ISREG(mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            seen[str(path.relative_to(folder))] = (stat.S_IFMT(mode), stat.S_IMODE(mode), content)
    return seen


def changed(before: dict[str, tuple[object, ...]], folder: Path) -> list[str]:
    """Return what is no longer as it was; what was added since does not count."""
    now = picture(folder)
    return sorted(name for name, state in before.items() if now.get(name) != state)
