"""A small run of the real command, and what must be the same of it whatever disturbed it."""

import hashlib
from pathlib import Path

from budgets import amount
from cli.commands import TINY

STEPS = amount(300, 600)


def train(batching: str, out: str, *more: str) -> list[str]:
    """Arguments of the run: checkpoints every 10 steps, so that a kill often meets one."""
    schedule = ["--steps", f"{STEPS}", "--eval-every", "60", "--save-every", "10"]
    model = ["--dropout", "0.1", "--patience", "0"]
    head = ["train", "song.txt", "--out", out, "--batching", batching]
    return [*head, *TINY, *schedule, *model, *more]


def last_step(run: Path) -> int:
    """The step that `last` names; 0 where nothing was saved."""
    try:
        return int((run / "last").read_text())
    except FileNotFoundError:
        return 0


def temporary(run: Path) -> set[str]:
    """Names of what is half-written, or was when its writer died."""
    names: set[str] = set()
    for folder in (run, run / "checkpoints"):
        if folder.is_dir():
            names |= {path.name for path in folder.glob(".*")}
    return names


def sha256(run: Path, pointer: str, name: str) -> str:
    checkpoint = run / "checkpoints" / (run / pointer).read_text().strip()
    return hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()


def outcome(run: Path) -> dict[str, str]:
    """What must not differ by a bit."""
    return {
        f"{pointer} {name}": sha256(run, pointer, name)
        for pointer in ("best", "last")
        for name in ("model.safetensors", "trainer.safetensors", "vocabulary.json")
    } | {"metrics": (run / "metrics.jsonl").read_text()}
