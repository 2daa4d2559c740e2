"""A text that a model is to write, in ids, and how far it has come."""

from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from carousel.errors import ConfigError
from carousel.generation.config import SamplingConfig, check_integer
from carousel.generation.sentence_boundary import Marks

ROOM = 4096  # ids for which a draft has room at first; it grows
ENDLESS = 2**62  # ids that nobody waits for the end of


@dataclass(frozen=True, kw_only=True)
class Task:
    """One text.

    Attributes:
        prompt: Ids, at least one.
        length: Ids to draw after them, at most ENDLESS; 0: the prompt is read, and scored where
            that is asked for.
        sampling: How they are drawn.
        sample: Number n of the text; texts of one seed are independent draws.
        alternatives: With a number, the chance of every id but the first is told, and at each place
            so many of the likeliest ids; None: no chances.
        marks: By which ids sentences end; needed where each is drawn several times.
    """

    prompt: Sequence[int]
    length: int
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    sample: int = 0
    alternatives: int | None = None
    marks: Marks | None = None

    def __post_init__(self) -> None:
        """Refuse what is no text.

        Raises:
            ConfigError: If a number is out of its range, or sentences are to be drawn several times
                and nobody says where they end.
            ValueError: If the prompt is empty.
        """
        if len(self.prompt) == 0:
            raise ValueError("the prompt must hold at least one token")
        check_integer("length", self.length, at_least=0, at_most=ENDLESS)
        check_integer("sample", self.sample, at_least=0, at_most=2**64 - 1)
        if self.alternatives is not None:
            check_integer("alternatives", self.alternatives, at_least=0)
        if self.sampling.candidates > 1 and self.marks is None:
            raise ConfigError("candidates above 1 need characters, to see where a sentence ends")


class Chance(NamedTuple):
    """How likely an id was under the model itself: its log p, and the likeliest ids with theirs."""

    log_p: float
    alternatives: list[tuple[int, float]]


class News(NamedTuple):
    """What has become of a text since the last news of it.

    Attributes:
        key: Which text.
        ids: Those drawn since.
        chances: Where asked for, those found since: the prompt's from its second id on, then those
            of the drawn ids.
        is_over: Whether there will be no more.
        error: Why it ends here, where its weights are no numbers.
        drawn: Ids drawn since, those of all candidates included.
    """

    key: Hashable
    ids: list[int]
    chances: list[Chance]
    is_over: bool
    error: str | None
    drawn: int = 0


class Draft:
    """A text as it is written. Its numbers lie in tensors, where a kernel can go on with them.

    Attributes:
        task: What is to be written.
        ids: (N,) its ids, and room for more.
        place: (4,) how many ids the model has read; how many stand; how many will stand in the
            end; whether the logits after the next one were no numbers.
        log_p: (N,) chance of each id where it is known; empty if nobody asks.
        best: (N, K) the likeliest ids at each place.
        best_log_p: (N, K) and their chances.
    """

    def __init__(self, task: Task, vocab_size: int) -> None:
        self.task = task
        prompt = torch.tensor(task.prompt, dtype=torch.int64)
        end = len(prompt) + task.length
        self.place = torch.tensor([0, len(prompt), end, 0])
        self._told_ids, self._told_chances = len(prompt), 1
        k = None if task.alternatives is None else min(task.alternatives, vocab_size)
        room = min(end, len(prompt) + ROOM)
        self.ids = prompt.new_empty(room)
        self.ids[: len(prompt)] = prompt
        self.log_p = torch.empty(0 if k is None else room)
        self.best = torch.empty(len(self.log_p), k or 0, dtype=torch.int64)
        self.best_log_p = torch.empty(len(self.log_p), k or 0)

    @property
    def is_scored(self) -> bool:
        """Tell whether chances are wanted."""
        return self.task.alternatives is not None

    @property
    def steps_left(self) -> int:
        """How many ids the model will read yet; it need not read the last."""
        read, _, end, has_failed = self.place.tolist()
        is_wanted = self.task.length > 0 or self.is_scored
        return end - 1 - read if is_wanted and not has_failed else 0

    @property
    def steps_ahead(self) -> int:
        """How many of them there is room for now."""
        return min(self.steps_left, len(self.ids) - 1 - int(self.place[0]))

    def make_room(self) -> None:
        """Make room for at least one more id, if there is to be one."""
        end = int(self.place[2])
        if len(self.ids) == int(self.place[1]) < end:
            self._grow(min(end, 2 * len(self.ids)))

    def append(self, ids: torch.Tensor) -> None:
        """Let these ids (n,) stand behind those that do, to be read; the last may be left."""
        known = int(self.place[1])
        end = known + len(ids)
        if len(self.ids) < end:
            self._grow(max(end, 2 * len(self.ids)))
        self.ids[known:end] = ids
        self.place[1:3] = end

    def fork(self, task: Task, end: int) -> "Draft":
        """Return a draft of another text that has come as far, with chances.

        Args:
            task: That text: of the same prompt.
            end: Ids that it has room for; it is over where it stands until place says otherwise.
        """
        known = int(self.place[1])
        other = copy(self)
        other.task = task
        other.place = self.place.clone()
        other.ids = _longer(self.ids[:known], end)
        other.log_p = _longer(self.log_p[:known], end)
        other.best = torch.empty(end, 0, dtype=torch.int64)
        other.best_log_p = torch.empty(end, 0)
        return other

    def _grow(self, room: int) -> None:
        self.ids = _longer(self.ids, room)
        if self.is_scored:
            self.log_p = _longer(self.log_p, room)
            self.best = _longer(self.best, room)
            self.best_log_p = _longer(self.best_log_p, room)

    def news(self, key: Hashable) -> News:
        """Return what is new since this was last asked."""
        read, known, _, has_failed = self.place.tolist()
        # An id whose chance is wanted is told together with it.
        told = max(self._told_ids, min(known, read + 1) if self.is_scored else known)
        ids = self.ids[self._told_ids : told].tolist()
        self._told_ids = told
        chances = []
        if self.is_scored:
            found = slice(self._told_chances, read + 1)
            rows = zip(self.best[found].tolist(), self.best_log_p[found].tolist(), strict=True)
            pairs = [list(zip(*row, strict=True)) for row in rows]
            chances = list(map(Chance, self.log_p[found].tolist(), pairs))
            self._told_chances = max(self._told_chances, read + 1)
        error = "NaN or infinity among the logits" if has_failed else None
        return News(key, ids, chances, self.steps_left == 0, error)


def _longer(tensor: torch.Tensor, room: int) -> torch.Tensor:
    longer = tensor.new_empty(room, *tensor.shape[1:])
    longer[: len(tensor)] = tensor
    return longer
