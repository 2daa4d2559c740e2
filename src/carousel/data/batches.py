"""Ids → batches. Every batch is a pure function of its number, so that any step can be resumed.

Two ways to train: `RandomWindows`, each from a zero state, and `ContiguousBatches`, which carry the
state from batch to batch (truncated backpropagation through time). One way to judge:
`evaluation_lanes`.
Shapes: N ids in all, B rows of a batch, T characters of a row.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.range_view import IdSequence
from carousel.data.vocabulary import Ids
from carousel.errors import TextError

RESTART = 1 / 32  # how likely a lane is to begin a window from a zero state


class Batch(NamedTuple):
    """The batch of one training step."""

    tokens: NDArray[np.int64]  # (B, T)
    targets: NDArray[np.int64]  # (B, T): the character after each token
    fresh: NDArray[np.bool_]  # (B,): rows that begin from a zero state, the others from the last


class EvaluationBatch(NamedTuple):
    """The batch of one evaluation step; the state is carried to the next."""

    tokens: NDArray[np.int64]  # (B, T)
    targets: NDArray[np.int64]  # (B, T): the character after each token
    mask: NDArray[np.bool_]  # (B, T): which targets count; a row that has ended is filled up


@dataclass(frozen=True, eq=False)
class RandomWindows:
    """Windows from places drawn at random, uniformly and independently; nothing is materialised.

    Attributes:
        ids: (N,), of any unsigned type; may be mapped from disk.
        batch_size: Windows in a batch, B.
        sequence_length: Targets in a window, T.
        seed: Of the draws, in [0, 2¹²⁸).

    Raises:
        TextError: If the ids are fewer than the T + 1 of one window.
    """

    ids: IdSequence
    batch_size: int
    sequence_length: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a text without a single window."""
        if len(self.ids) < self.sequence_length + 1:
            raise TextError(
                f"the text has {len(self.ids)} characters, and a window of {self.sequence_length} "
                f"needs {self.sequence_length + 1}: a smaller --sequence-length would work"
            )

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches that hold as many targets as the text, ⌈(N − 1) / BT⌉."""
        return math.ceil((len(self.ids) - 1) / (self.batch_size * self.sequence_length))

    @property
    def characters_per_epoch(self) -> int:
        """The number of targets in an epoch."""
        return self.batches_per_epoch * self.batch_size * self.sequence_length

    def batch(self, k: int) -> Batch:
        """Return batch k = 0, 1, 2, …: the same for the same k, whatever was asked before."""
        starts = _draw(self.seed, k, len(self.ids) - self.sequence_length, self.batch_size)
        places = starts[:, None] + np.arange(self.sequence_length + 1)  # (B, T + 1)
        return Batch(*_parted(self.ids[places]), fresh=np.ones(self.batch_size, dtype=bool))


@dataclass(frozen=True, eq=False)
class ContiguousBatches:
    """B readers side by side, each going through its own stretch of the text window by window.

    The text is a circle. Each epoch cuts it open at another place, drawn uniformly, and lays it out
    in B lanes of M = ⌊(N − 1) / BT⌋ windows, which follow one another without a gap. So windows
    begin at other places each epoch, and the at most BT characters left over are other ones. Where
    its end meets its beginning, the text is read on as over any border between documents.

    At each window a lane forgets its past with probability RESTART: a model that met a zero state
    once an epoch only would never learn to begin, and would do badly at prompts and validations.

    Attributes:
        ids: (N,), of any unsigned type; may be mapped from disk.
        batch_size: Lanes, B.
        sequence_length: Targets in a window, T.
        seed: Of the draws, in [0, 2¹²⁸).

    Raises:
        TextError: If the ids are fewer than the BT + 1 of one window in each lane.
    """

    ids: IdSequence
    batch_size: int
    sequence_length: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a text that does not fill one batch."""
        needed = self.batch_size * self.sequence_length + 1
        if len(self.ids) < needed:
            raise TextError(
                f"the text has {len(self.ids)} characters, and {self.batch_size} lanes of "
                f"{self.sequence_length} need {needed}: "
                "a smaller --sequence-length or --batch-size would work"
            )

    @property
    def batches_per_epoch(self) -> int:
        """The number of windows in a lane, M; the state starts afresh after as many batches."""
        return (len(self.ids) - 1) // (self.batch_size * self.sequence_length)

    @property
    def characters_per_epoch(self) -> int:
        """The number of targets in an epoch, all at different places."""
        return self.batches_per_epoch * self.batch_size * self.sequence_length

    def batch(self, k: int) -> Batch:
        """Return batch k = 0, 1, 2, …: the same for the same k, whatever was asked before."""
        epoch, window = divmod(k, self.batches_per_epoch)
        opening = _draw(self.seed, epoch, len(self.ids), 1)
        lane_length = self.batches_per_epoch * self.sequence_length
        starts = opening + lane_length * np.arange(self.batch_size) + window * self.sequence_length
        places = starts[:, None] + np.arange(self.sequence_length + 1)  # (B, T + 1)
        restarts = _draw(self.seed, k, 1 << 32, self.batch_size, purpose=1) < RESTART * (1 << 32)
        return Batch(*_parted(self.ids[places % len(self.ids)]), fresh=restarts | (window == 0))


def evaluation_lanes(ids: IdSequence, lanes: int, chunk: int) -> Iterator[EvaluationBatch]:
    """Return batches in which every id but the first is a target exactly once.

    The N − 1 targets are dealt, in order, to at most `lanes` lanes whose lengths differ by one at
    most; each lane begins, from a zero state, with the character before its first target. Only the
    last column of the last batch may be masked, in the shorter lanes. One lane is the text as one
    stream, exactly; each further lane costs one start without a past.

    Args:
        ids: (N,), of any unsigned type; may be mapped from disk.
        lanes: Rows of a batch, B; fewer if there are fewer targets.
        chunk: Characters of a row, T; fewer in the last batch.

    Raises:
        TextError: If there are fewer than two ids.
    """
    targets = len(ids) - 1
    if targets < 1:
        raise TextError(f"the text has {len(ids)} characters; an evaluation needs 2")
    edges = np.arange(min(lanes, targets) + 1) * targets // min(lanes, targets)
    return _lane_chunks(ids, edges[:-1], np.diff(edges), chunk)


def _lane_chunks(
    ids: IdSequence, starts: NDArray[np.int64], lengths: NDArray[np.int64], chunk: int
) -> Iterator[EvaluationBatch]:
    longest = int(lengths.max())
    for begin in range(0, longest, chunk):
        steps = np.arange(begin, min(begin + chunk, longest) + 1)  # (T + 1,)
        places = np.minimum(starts[:, None] + steps, len(ids) - 1)  # (B, T + 1)
        yield EvaluationBatch(*_parted(ids[places]), mask=steps[:-1] < lengths[:, None])


def _draw(seed: int, index: int, span: int, count: int, *, purpose: int = 0) -> NDArray[np.int64]:
    """Return `count` integers in [0, span): number `index` of the independent draws of a seed.

    Philox is counter-based: purpose, draw and place within the draw have a word of the counter
    each, so no two draws overlap. The raw bits, unlike numpy's distributions, never change between
    versions; the remainder favours small values by less than span / 2⁶⁴.

    Source: Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3 (SC11).
    """
    bits = np.random.Philox(key=seed, counter=[0, index, purpose, 0]).random_raw(count)
    return (bits % np.uint64(span)).astype(np.int64)


def _parted(windows: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part windows (B, T + 1) into tokens and targets, (B, T) each."""
    return windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
