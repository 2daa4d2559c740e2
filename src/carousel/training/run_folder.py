"""A run on disk: what was measured, what was saved, and which of it is the best and the last.

metrics.jsonl       one JSON object a line: each step, each validation
checkpoints/STEP/   complete checkpoints (carousel.models.checkpoint)
best, last          one line each: the name of a checkpoint
samples/            text written while learning
lock                held while a trainer works here
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from carousel.errors import CheckpointError
from carousel.files import make_folder, remove_folder, remove_leftovers, write_durably
from carousel.models.checkpoint import read_checkpoint, write_checkpoint


class RunFolder:
    """The folder of one run, written by one trainer at a time (hold the lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._metrics: IO[str] | None = None

    def prepare(self) -> None:
        """Make what is missing and clear away what a killed trainer left half-written."""
        make_folder(self.checkpoints)
        remove_leftovers(self.path)
        remove_leftovers(self.checkpoints)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")
        self._metrics.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Write out what is buffered."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def rewind(self, step: int, *, validated: int, best: int) -> None:
        """Go back to a checkpoint: forget what came after it, which will be computed again.

        Args:
            step: Of the checkpoint.
            validated: Step of the last validation that it knows.
            best: Step of the best one.
        """
        self.close()
        kept = [
            record
            for record in read_metrics(self.path)
            if record["step"] <= (validated if "validation_loss" in record else step)
        ]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        write_durably(self.path / "metrics.jsonl", lines.encode())
        self._settle(step, best)

    def save(self, step: int, files: Mapping[str, bytes], *, best: int) -> Path:
        """Publish a checkpoint; from now on it is the last, and the one of step `best` the best.

        One that is there already, of the same step, stays: a resumed run comes to the same state,
        and a checkpoint that is never replaced is never missing.
        """
        if self._metrics is not None:  # a checkpoint must not know more than the metrics
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        folder = self.checkpoints / step_name(step)
        if not folder.exists():
            write_checkpoint(folder, files)
        self._settle(step, best)
        return folder

    def _settle(self, step: int, best: int) -> None:
        """Point `last` and `best` at these steps, and keep them and the one before the last."""
        saved = self.saved_steps()
        best = best if best in saved else step
        for pointer, k in (("last", step), ("best", best)):
            write_durably(self.path / pointer, f"{step_name(k)}\n".encode())
        before = [k for k in saved if k < step]
        for k in set(saved) - {step, best, *before[-1:]}:
            remove_folder(self.checkpoints / step_name(k))

    def saved_steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in order."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(int(p.name) for p in self.checkpoints.iterdir() if p.name.isdecimal())

    def newest(self) -> tuple[int, dict[str, bytes], list[str]] | None:
        """Return the newest readable checkpoint and what was found wrong with newer ones.

        Raises:
            CheckpointError: If there are checkpoints and none can be read.
        """
        faults: list[str] = []
        for step in reversed(self.saved_steps()):
            try:
                return step, read_checkpoint(self.checkpoints / step_name(step)), faults
            except CheckpointError as error:
                faults.append(str(error))
        if faults:
            raise CheckpointError(f"no checkpoint of {self.path} can be read: {faults[0]}")
        return None

    def clear(self) -> None:
        """Empty the folder of an earlier run that saved nothing."""
        self.close()
        for name in ("metrics.jsonl", "best", "last"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "samples", ignore_errors=True)


def step_name(step: int) -> str:
    """Return a checkpoint's name: its step, in digits that sort."""
    return f"{step:08d}"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl; a line that a kill left half-written is passed over."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
