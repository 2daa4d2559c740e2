"""A text whose sentences are drawn several times each: the best one stays, the others go.

One draft reads: it holds what is settled. Candidates start where it stands and go on to the end of
a sentence (marks.py); the likeliest that repeats nothing is appended to what is settled, and so on:
candidates in math/sampling/equations.md. Nothing here depends on how long a call of the engine
lasts.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from carousel.sampling.marks import Marks
from carousel.sampling.straight import Way
from carousel.sampling.task import Draft, News, Task

LONGEST = 240  # ids of a candidate; where no sentence has ended by then, one is cut off
STRIDE = 16  # ids that a candidate goes on between two looks whether its sentence has ended
RUN, MEMORY = 16, 4096  # ids: so many that stand among so many last ones already are a repetition


@dataclass(eq=False)
class _Candidate:
    draft: Draft
    looked: int  # ids at whose end none was found
    has_ended: bool = False


class Sentences:
    """A text that the engine writes; `Straight` is the other kind."""

    def __init__(self, task: Task, marks: Marks, vocab_size: int, way: Way) -> None:
        """Take up a task, in such a way."""
        self._task = task
        self._marks = marks
        self._way = way
        self._end = len(task.prompt) + task.length
        self._settled = Draft(task, vocab_size)
        self._settled.place[2] = len(task.prompt)  # it is read, and no more
        self._candidates: list[_Candidate] = []
        self._drawn = 0  # candidates so far
        way.join(self._settled)
        self.go_on()

    @property
    def writing(self) -> list[Draft]:
        """The drafts that the engine is to go on with; none when the text is over."""
        drafts = [candidate.draft for candidate in self._candidates]
        return [draft for draft in (self._settled, *drafts) if draft.steps_left]

    def go_on(self) -> None:
        """Do what is due, now that the engine has gone on: end, choose, begin."""
        if self._settled.steps_left:
            return
        for candidate in self._candidates:
            self._look_at(candidate)
        if any(candidate.draft.steps_left for candidate in self._candidates):
            return
        if self._candidates:
            self._choose()
        if not self._settled.steps_left:
            self._begin()

    def news(self, key: Hashable) -> News:
        """Return what is new since this was last asked."""
        return self._settled.news(key)._replace(is_over=not self.writing)

    def leave(self) -> None:
        """Let the way forget the text."""
        for draft in (self._settled, *(candidate.draft for candidate in self._candidates)):
            self._way.leave(draft)

    def _begin(self) -> None:
        """Let candidates start where the settled text stands, if there is more to come."""
        settled = self._settled
        _, known, _, has_failed = settled.place.tolist()
        if known == self._end or has_failed:
            return
        room = min(LONGEST, self._end - known)
        for _ in range(self._task.sampling.candidates):
            self._drawn += 1
            number = (self._task.sample + (self._drawn << 32)) % 2**64  # (sampling.10)
            draft = settled.fork(number, room)
            draft.place[2] += min(STRIDE, room)
            self._way.fork(settled, draft)
            self._candidates.append(_Candidate(draft, known))

    def _look_at(self, candidate: _Candidate) -> None:
        """End a candidate whose sentence has ended; let one go on that has room."""
        draft = candidate.draft
        start, known = int(self._settled.place[1]), int(draft.place[1])
        if candidate.has_ended or draft.steps_left or draft.place[3]:
            return
        ids = draft.ids[start:known].tolist()
        for end in range(candidate.looked + 1, known + 1):
            if self._marks.end(ids[: end - start]):
                candidate.has_ended = True
                draft.place[:3] = torch.tensor([end - 1, end, end])
                return
        candidate.looked = known
        draft.place[2] = min(known + STRIDE, len(draft.ids))

    def _choose(self) -> None:
        """Settle the best candidate."""
        start = int(self._settled.place[1])
        before = string(self._settled.ids[max(0, start - MEMORY) : start])

        def rank(candidate: _Candidate) -> tuple[bool, bool, float]:
            end = int(candidate.draft.place[1])
            is_new = not repeats(before, string(candidate.draft.ids[start:end]))
            mean = float(candidate.draft.log_p[start:end].double().mean())  # (sampling.11)
            return candidate.has_ended, is_new, mean

        if any(candidate.draft.place[3] for candidate in self._candidates):
            self._settled.place[3] = 1
        else:
            best = max(self._candidates, key=rank).draft
            self._settled.append(best.ids[start : int(best.place[1])])
            if int(self._settled.place[1]) == self._end and not self._settled.is_scored:
                self._settled.place[0] = self._end - 1  # nothing follows from the last sentence
        for candidate in self._candidates:
            self._way.leave(candidate.draft)
        self._candidates = []


def string(ids: torch.Tensor) -> str:
    """Return a string with a character for each id: Python finds one in another fast."""
    return "".join(map(chr, ids.tolist()))


def repeats(before: str, sentence: str) -> bool:
    """Tell whether a run that ends in a sentence stood there already, or in what comes before."""
    text = before + sentence
    ends = range(max(RUN, len(before)) + 1, len(text) + 1)
    return any(text.find(text[end - RUN : end], 0, end - 1) >= 0 for end in ends)
