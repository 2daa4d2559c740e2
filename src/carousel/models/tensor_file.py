"""Reading a safetensors file that may be damaged, with as much memory as its tensors need.

The header says where each tensor lies: it can be held against what is expected before any memory is
taken. Format: 8 bytes with the header's length (little-endian), the header as JSON, the numbers.
The safetensors library, which writes these files, also reads them; but it passes over a name that
stands there twice, copies once more, and puts tensors where they come to lie: from other addresses
a matrix product may sum in another order, and a resumed run would leave its bits.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from carousel.errors import CheckpointError, shorten

_LONGEST = 10_000_000  # bytes of a header: some 100,000 tensors
_MOST_DIMENSIONS = 8  # of a tensor; the models here have at most 3
_LARGEST = 1 << 60  # size of a dimension, and offset in a file; no disk is so large
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class Entry(NamedTuple):
    """A tensor in the header of a file; its numbers are bytes [start, stop)."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(data: bytes) -> dict[str, Entry]:
    """Return what a file holds, by name: tensors that fill it without a gap or an overlap.

    Raises:
        CheckpointError: If it is no such file.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    if not 8 < begin <= min(len(data), _LONGEST):
        raise CheckpointError(f"its header would end at byte {begin:,} of {len(data):,}")
    try:
        table = json.loads(data[8:begin], object_pairs_hook=_without_doubles)
        entries = {
            name: _entry(row, begin) for name, row in table.items() if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError("its header is damaged") from None
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.stop)):
        if entry.start != begin:
            raise CheckpointError("its tensors overlap or leave gaps")
        begin = entry.stop
    if begin != len(data):
        raise CheckpointError(f"its tensors end at byte {begin:,} of {len(data):,}")
    return entries


def read_tensors(data: bytes, entries: Mapping[str, Entry]) -> dict[str, Tensor]:
    """Return the tensors of a file, each in memory of its own, laid out as torch likes it."""
    return {name: _read(data, entry) for name, entry in entries.items()}


def check_like(given: Entry | Tensor, own: Tensor, name: str, owner: str) -> None:
    """Refuse a tensor whose shape or type is not that of the owner's.

    Raises:
        CheckpointError: If it is not; the message has the name, both types and both shapes.
    """
    if (given.dtype, tuple(given.shape)) != (own.dtype, tuple(own.shape)):
        raise CheckpointError(
            f"{shorten(name)} is {given.dtype} {tuple(given.shape)}, "
            f"{owner} needs {own.dtype} {tuple(own.shape)}"
        )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands there twice")
    return table


def _entry(row: Mapping[str, Any], begin: int) -> Entry:
    """Read a row of the header; offsets in it count from the end of the header."""
    dtype, shape, (start, stop) = _TYPES[row["dtype"]], row["shape"], row["data_offsets"]
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError("too many dimensions")
    # Bounded before they are multiplied: the product of a thousand long numbers takes minutes.
    if not all(type(size) is int and 0 <= size <= _LARGEST for size in (*shape, start, stop)):
        raise ValueError("sizes and offsets are whole numbers")
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError("the shape does not fit the number of bytes")
    return Entry(dtype, tuple(shape), begin + start, begin + stop)


def _read(data: bytes, entry: Entry) -> Tensor:
    count = entry.stop - entry.start
    memory = torch.empty(count, dtype=torch.uint8)
    memory.numpy()[:] = np.frombuffer(data, np.uint8, count, entry.start)
    return memory.view(entry.dtype).reshape(entry.shape)
