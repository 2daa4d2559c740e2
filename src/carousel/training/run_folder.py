"""A run on disk: what was measured, what was saved, and which of it is the best and the last.

carousel-run.json   the mark of a run (see run_mark.py), there before anything else
metrics.jsonl       one JSON object a line: each step, each validation
checkpoints/STEP/   complete checkpoints (carousel.models.checkpoint)
best, last          one line each: the name of a checkpoint
samples/            text written while learning
lock                held while a trainer works here
"""

import errno
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from carousel.appender import Appender
from carousel.errors import CheckpointError, StorageError
from carousel.files import (
    make_folder,
    move_aside,
    remove_folder,
    sync_folder,
    write_durably,
)
from carousel.models.checkpoint import (
    foreign_names,
    has_manifest,
    read_checkpoint,
    write_checkpoint,
)
from carousel.plain_paths import is_plain_folder, resolved
from carousel.training.metrics import read_metrics as read_metrics
from carousel.training.run_mark import (
    CHECKPOINTS,
    METRICS,
    POINTERS,
    SAMPLES,
    STEP,
    check_run,
    remove_leftovers_of_a_run,
    remove_samples,
    remove_written,
    write_mark,
)

_log = logging.getLogger("carousel")


class RunFolder:
    """The folder of one run, written by one trainer at a time (hold the lock).

    A disk that refuses to write is a StorageError: it says what could not be written, why, which
    step is safe, and what would help. Nothing that was saved before is lost by it. What somebody
    else put into the folder is neither changed nor removed.

    Attributes:
        path: As it was given, which messages show.
        root: The same folder without `..` on the way.
        checkpoints: Where the checkpoints stand.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = resolved(path)
        self.checkpoints = self.root / CHECKPOINTS
        self._metrics = Appender(self.root / METRICS)
        self._kept: set[Path] = set()  # old checkpoints with something of the user's in them
        self._safe: int | None = None  # step of the newest checkpoint known to be on disk

    def prepare(self) -> None:
        """Make what is missing and clear away what a killed trainer left half-written.

        Raises:
            RunError: If the folder is neither new nor a run.
            StorageError: If the disk refuses.
        """
        check_run(self.root, str(self.path))
        try:
            make_folder(self.root)
            write_mark(self.root)
            make_folder(self.checkpoints)
        except OSError as error:
            refusal = f"no run can be kept in {self.path}: {error.strerror or error}"
            raise StorageError(f"{refusal}; name another with --out") from error
        remove_leftovers_of_a_run(self.root)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to metrics.jsonl.

        Raises:
            StorageError: If the disk refuses.
        """
        with self._explaining(f"the metrics of step {record['step']} could not be written"):
            self._metrics.append(f"{json.dumps(record)}\n".encode())

    def close(self) -> None:
        """Close metrics.jsonl."""
        self._metrics.close()

    def rewind(self, step: int, *, validated: int, best: int) -> None:
        """Return to a checkpoint; what came after it is removed and will be computed again.

        Args:
            step: Of the checkpoint.
            validated: Step of the last validation that it knows.
            best: Step of the best one.

        Raises:
            CheckpointError: If metrics.jsonl is damaged before that step; nothing was changed then.
            StorageError: If the disk refuses.
        """
        records = read_metrics(self.root, known_to=step)  # before anything is changed
        self.close()
        self._safe = step
        kept = [
            record
            for record in records
            if record["step"] <= (validated if "validation_loss" in record else step)
        ]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        with self._explaining(f"going back to step {step} failed"):
            write_durably(self.root / METRICS, lines.encode())
            sync_folder(self.checkpoints)  # a kill may have come before its writer did
            for k in self.saved_steps():
                if k > step:  # damaged; a save leaves what is there under its name
                    self._remove(k, is_in_the_way=True)
            self._settle(step, best)

    def save(self, step: int, files: Mapping[str, bytes], *, best: int) -> Path:
        """Publish a checkpoint; from now on it is the last, and the one of step `best` the best.

        One that is there already, of the same step, stays: a resumed run comes to the same state,
        and a checkpoint that is never replaced is never missing.

        Raises:
            StorageError: If the disk refuses; or if the folder was removed or replaced meanwhile:
                the checkpoint and all metrics are then in a new one, which the message names.
        """
        folder = self.checkpoints / step_name(step)
        with self._explaining(f"step {step} could not be saved"):
            if not (is_plain_folder(self.checkpoints) and self._metrics.is_in_place()):
                refuge = self._save_elsewhere(step, files)
                raise StorageError(
                    f"{self.path} was removed while training; step {step} was saved in {refuge}: "
                    f"go on with --resume --out {refuge}"
                )
            self._metrics.sync()  # a checkpoint must not know more than the metrics
            if is_plain_folder(folder):
                sync_folder(self.checkpoints)
            else:
                write_checkpoint(folder, files)
            self._settle(step, best)
        self._safe = step
        return folder

    def _save_elsewhere(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Save in a new folder, not in what may be another trainer's by now; return its path."""
        refuge = RunFolder(_free_name(self.path))
        refuge.prepare()
        with refuge._explaining(f"step {step} could not be saved"):
            write_durably(refuge.root / METRICS, self._metrics.content())
        refuge.save(step, files, best=step)
        return refuge.path

    @contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        """Turn an OSError into what the user should know."""
        try:
            yield
        except OSError as error:
            help = _HELP.get(error.errno or 0, "see to the disk")
            safe = (
                f"nothing was saved yet: {help} and start again"
                if self._safe is None
                else f"step {self._safe} is safe there: {help} and go on with --resume"
            )
            why = error.strerror or error
            raise StorageError(f"{what} in {self.path}: {why}; {safe}") from error

    def _settle(self, step: int, best: int) -> None:
        """Point `last` and `best` at these steps, and keep them and the one before the last."""
        saved = self.saved_steps()
        best = best if best in saved else step
        for pointer, k in (("last", step), ("best", best)):
            write_durably(self.root / pointer, f"{step_name(k)}\n".encode())
        before = [k for k in saved if k < step]
        for k in set(saved) - {step, best, *before[-1:]}:
            with suppress(OSError):  # Windows keeps what somebody reads: one too many, till later
                self._remove(k)

    def _remove(self, step: int, *, is_in_the_way: bool = False) -> None:
        """Remove a checkpoint; one with something of the user's in it stays, if need be aside."""
        folder = self.checkpoints / step_name(step)
        if not (foreign := foreign_names(folder)):
            remove_folder(folder)
        elif is_in_the_way:
            aside = self.path / CHECKPOINTS / move_aside(folder).name
            _log.warning("%s is kept: %s in it is not Carousel's", aside, foreign[0])
        elif folder not in self._kept:
            self._kept.add(folder)
            shown = self.path / CHECKPOINTS / folder.name
            _log.warning("%s is kept: %s in it is not Carousel's", shown, foreign[0])

    def write_sample(self, step: int, text: str) -> None:
        """Keep a text that the model wrote at a step.

        Raises:
            OSError: If the disk refuses, or samples/ is a link.
        """
        samples = self.root / SAMPLES
        if os.path.lexists(samples) and not is_plain_folder(samples):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(samples))
        make_folder(samples)
        write_durably(samples / f"{step_name(step)}.txt", text.encode())

    def saved_steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in order."""
        if not is_plain_folder(self.checkpoints):
            return []
        return sorted(
            int(path.name)
            for path in self.checkpoints.iterdir()
            if STEP.fullmatch(path.name) and is_plain_folder(path)
        )

    def is_whole(self, step: int) -> bool:
        """Return whether the checkpoint of a step has a manifest; bytes are not compared."""
        return has_manifest(self.checkpoints / step_name(step))

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
                faults.append(str(error).replace(str(self.root), str(self.path)))
        if faults:
            raise CheckpointError(f"no checkpoint of {self.path} can be read: {faults[0]}")
        return None

    def clear(self) -> None:
        """Empty the folder of an earlier run that saved nothing.

        Raises:
            StorageError: If the disk refuses.
        """
        self.close()
        with self._explaining("an earlier run could not be cleared away"):
            remove_written(self.root, (METRICS, *POINTERS))
            remove_samples(self.root)


_HELP = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "allow larger files",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}


def _free_name(path: Path) -> Path:
    """Return the path itself, or, if something stands there, a name beside it that is free."""
    free, k = path, 1
    while os.path.lexists(free):
        whole = Path(os.path.realpath(path)) if path.name in ("", "..") else path
        free, k = whole.with_name(f"{whole.name}-rescued{f'-{k}' if k > 1 else ''}"), k + 1
    return free


def step_name(step: int) -> str:
    """Return a checkpoint's name: its step, in digits that sort."""
    return f"{step:08d}"
