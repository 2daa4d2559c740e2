"""metrics.jsonl of a run, read line by line: what it measured, step by step."""

import json
from io import BufferedReader
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any

from carousel.errors import CheckpointError
from carousel.input_files import METRICS_LINE_LIMIT, open_regular
from carousel.training.run_mark import METRICS

_LAST_STEP = 1 << 53  # what every reader of JSON can tell from the next number


def read_metrics(run: Path, *, known_to: int = 0) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl; a line that a kill left half-written is passed over.

    Args:
        run: The folder of the run.
        known_to: Step of a checkpoint. The records up to it were on the disk before it was, so no
            kill and no loss of power explains a damaged line before one of them.

    Raises:
        CheckpointError: If there is such a line.
    """
    path, records, damaged = run / METRICS, list[dict[str, Any]](), 0
    try:
        with open_regular(path) as raw, BufferedReader(raw) as file:
            for number in count(1):
                if not (line := file.readline(METRICS_LINE_LIMIT)):
                    break
                if (record := _record(line)) is None:
                    damaged = damaged or number
                elif damaged and record["step"] <= known_to:
                    raise CheckpointError(
                        f"line {damaged} of {path} is not as it was written: restore the file, or "
                        "move it away and go on without the measurements"
                    )
                else:
                    records.append(record)
    except FileNotFoundError:
        return []
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    """Return what a line says of a step, finite numbers by name; None if it does not."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    try:
        is_sound = all(type(value) in (int, float) and isfinite(value) for value in record.values())
    except OverflowError:  # a whole number beyond the largest float
        return None
    return record if is_sound and 0 <= record["step"] <= _LAST_STEP else None
