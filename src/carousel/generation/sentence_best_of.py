"""A text whose sentences are drawn several times each: the best one stays, the others go.

One draft reads: it holds what is settled. Another writes how the next sentence opens. Candidates
start where that stands and go on to the end of the sentence (sentence_boundary.py); the likeliest
that repeats nothing is appended to what is settled, and so on (math/sampling/equations.md has the
derivation of candidates). Nothing here depends on how long a call of the engine lasts.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch

from carousel.generation.config import SamplingConfig
from carousel.generation.request import Draft, News, Task
from carousel.generation.sentence_boundary import Marks
from carousel.generation.single_sample import Way

LONGEST = 80  # ids of a candidate; where no sentence has ended by then, one is cut off
OPENING = 2  # ids of a sentence that are drawn once
STRIDE = 16  # ids that candidates go on between two looks at them
RUN, MEMORY = 16, 4096  # ids: so many that stand among so many last ones already are a repetition


@dataclass(eq=False)
class _Candidate:
    draft: Draft
    looked: int  # ids that were looked at
    counted: int  # ids of it that were counted as drawn, or that it did not draw itself
    has_ended: bool = False
    is_new: bool = True  # as far as is known: seen when it ends, or is cut off
    mean: float = 0.0  # of its log p


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
        self._opening: Draft | None = None  # of a sentence
        self._candidates: list[_Candidate] = []
        self._is_new_sentence = False  # the first one goes on with the prompt
        self._drawn = 0  # candidates so far
        self._ids_drawn = 0  # by all of them, as far as they were looked at
        self._before = ""  # the end of what was settled when they began
        way.join(self._settled)
        self.go_on()

    @property
    def writing(self) -> list[Draft]:
        """The drafts that the engine is to go on with; none when the text is over."""
        return [draft for draft in self._drafts if draft.steps_left]

    @property
    def drawn(self) -> int:
        """Return how many ids were drawn so far, those of all candidates included."""
        live = sum(int(c.draft.place[1]) - c.counted for c in self._candidates)
        if self._opening is not None and not self._candidates:
            live += int(self._opening.place[1]) - int(self._settled.place[1])
        return self._ids_drawn + live

    def go_on(self) -> None:
        """Do what is due, now that the engine has gone on: end, go on, choose, begin."""
        if self.writing:
            return
        for candidate in self._candidates:
            self._look_at(candidate)
        for draft in self._ahead():
            self._way.keep(draft)
            draft.place[2] = min(int(draft.place[1]) + STRIDE, len(draft.ids))
        if self._candidates and not self.writing:
            self._choose()
        if not self.writing:
            self._begin()

    def news(self, key: Hashable) -> News:
        """Return what is new since this was last asked."""
        return self._settled.news(key)._replace(is_over=not self.writing)

    def leave(self) -> None:
        """Let the way forget the text."""
        for draft in self._drafts:
            self._way.leave(draft)

    @property
    def _drafts(self) -> list[Draft]:
        opening = [] if self._opening is None else [self._opening]
        return [self._settled, *opening, *(candidate.draft for candidate in self._candidates)]

    def _begin(self) -> None:
        """Let a sentence open, or candidates start, if there is more to come."""
        trunk = self._opening or self._settled
        start = int(self._settled.place[1])
        end = min(start + LONGEST, self._end)
        if trunk.place[3]:
            self._settled.place[3] = 1
        elif self._is_new_sentence and trunk is self._settled and end - start > OPENING:
            sampling = opening(self._task.sampling)
            self._opening = self._fork(trunk, self._task.sample, sampling, start + OPENING)
            self._opening.place[2] = start + OPENING
        elif start < end:
            self._before = string(trunk.ids[max(0, start - MEMORY) : start])
            self._start(trunk, end)

    def _start(self, trunk: Draft, end: int) -> None:
        """Let candidates start where a draft stands."""
        start, known = int(self._settled.place[1]), int(trunk.place[1])
        self._ids_drawn += known - start  # of the opening, which they share
        for _ in range(self._task.sampling.candidates):
            self._drawn += 1
            number = (self._task.sample + (self._drawn << 32)) % 2**64  # (sampling.10)
            draft = self._fork(trunk, number, self._task.sampling, end)
            draft.place[2] = min(known + STRIDE, end)
            self._candidates.append(_Candidate(draft, start, known))

    def _fork(self, trunk: Draft, sample: int, sampling: SamplingConfig, end: int) -> Draft:
        task = replace(self._task, sample=sample, sampling=sampling, alternatives=0)
        draft = trunk.fork(task, end)
        self._way.fork(trunk, draft)
        return draft

    def _look_at(self, candidate: _Candidate) -> None:
        """End a candidate whose sentence has ended, and see how likely it is."""
        draft = candidate.draft
        start, known = int(self._settled.place[1]), int(draft.place[1])
        if candidate.looked == known:
            return
        self._ids_drawn += known - candidate.counted
        ids = draft.ids[start:known].tolist()
        for end in range(candidate.looked + 1, known + 1):
            if self._marks.end(ids[: end - start]):
                known, candidate.has_ended = end, True
                draft.place[:3] = torch.tensor([end - 1, end, end])
                break
        candidate.looked = candidate.counted = known
        candidate.mean = float(draft.log_p[start:known].double().mean())
        if candidate.has_ended or known == len(draft.ids):
            candidate.is_new = not repeats(self._before, string(draft.ids[start:known]))

    def _ahead(self) -> list[Draft]:
        """Return what goes on, by (sampling.12)."""
        ended = (c.mean for c in self._candidates if c.has_ended and c.is_new)
        most = max(ended, default=-torch.inf)
        drafts = [c.draft for c in self._candidates if not c.has_ended and c.mean >= most]
        return [draft for draft in drafts if draft.place[1] < len(draft.ids) and not draft.place[3]]

    def _choose(self) -> None:
        """Settle the best candidate."""
        if any(candidate.draft.place[3] for candidate in self._candidates):
            self._settled.place[3] = 1
        else:
            # (sampling.11)
            chosen = max(self._candidates, key=lambda c: (c.has_ended, c.is_new, c.mean))
            self._is_new_sentence, best = chosen.has_ended, chosen.draft
            self._settled.append(best.ids[int(self._settled.place[1]) : int(best.place[1])])
            if not self._settled.is_scored:  # nobody asks for the chances of all alternatives
                self._way.go_back(best, self._settled)
                if int(self._settled.place[1]) == self._end:
                    self._settled.place[0] = self._end - 1  # nothing follows from the last sentence
        for draft in self._drafts[1:]:
            self._way.leave(draft)
        self._opening, self._candidates = None, []


def opening(config: SamplingConfig) -> SamplingConfig:
    """Return how the beginning of a sentence is drawn: (sampling.13)."""
    return replace(config, temperature=1.0 if config.temperature else 0.0)


def string(ids: torch.Tensor) -> str:
    """Return a string with a character for each id: Python finds one in another fast."""
    return "".join(map(chr, ids.tolist()))


def repeats(before: str, sentence: str) -> bool:
    """Tell whether a run that ends in a sentence stood there already, or in what comes before."""
    text = before + sentence
    ends = range(max(RUN, len(before)) + 1, len(text) + 1)
    return any(text.find(text[end - RUN : end], 0, end - 1) >= 0 for end in ends)
