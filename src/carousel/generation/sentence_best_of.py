"""A text each of whose sentences is the best of several samples.

One sequence holds the accepted text. A fork of it draws the opening of the next sentence.
Candidates fork from the opening and go on to the end of the sentence (sentence_boundary.py). The
candidate with the highest mean log-probability that repeats nothing is appended to the accepted
text, and the next sentence begins (derivation: math/sampling/equations.md). Nothing here depends
on how long a call of the engine lasts.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch

from carousel.generation.config import SamplingConfig
from carousel.generation.request import Output, Request
from carousel.generation.runner import Runner
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.token_sequence import TokenSequence

LONGEST = 80  # tokens of a candidate; one is cut off if no sentence has ended by then
OPENING = 2  # tokens of a sentence that all its candidates share
STRIDE = 16  # tokens drawn between two comparisons of the candidates
RUN, MEMORY = 16, 4096  # tokens: a run this long is a repetition if it occurs in the last MEMORY


@dataclass(eq=False)
class _Candidate:
    sequence: TokenSequence
    num_scanned: int  # tokens searched for the end of the sentence
    num_counted: int  # tokens that are in `num_drawn` already, or were drawn by another
    has_ended: bool = False
    is_new: bool = True  # whether it repeats nothing; decided at its end
    mean: float = 0.0  # of its log-probabilities


class SentenceBestOf:
    """One request of the engine, drawn sentence by sentence; `SingleSample` is the other kind."""

    def __init__(
        self, request: Request, boundary: SentenceBoundary, vocab_size: int, runner: Runner
    ) -> None:
        self._request = request
        self._boundary = boundary
        self._runner = runner
        self._limit = len(request.prompt) + request.length
        self._accepted = TokenSequence(request, vocab_size)
        self._accepted.limit = len(request.prompt)  # it is read only
        self._opening: TokenSequence | None = None
        self._candidates: list[_Candidate] = []
        self._is_new_sentence = False  # the first one continues the prompt
        self._num_candidates = 0  # so far
        self._num_drawn = 0  # by all of them, up to what was scanned
        self._recent = ""  # the end of the accepted text when the candidates began
        runner.add(self._accepted)
        self.update()

    @property
    def unfinished(self) -> list[TokenSequence]:
        """Return the sequences to run; none when the text is complete."""
        return [sequence for sequence in self._sequences if sequence.steps_left]

    @property
    def num_drawn(self) -> int:
        """Return how many tokens were drawn so far, including those of rejected candidates."""
        running = sum(c.sequence.num_tokens - c.num_counted for c in self._candidates)
        if self._opening is not None and not self._candidates:
            running += self._opening.num_tokens - self._accepted.num_tokens
        return self._num_drawn + running

    def update(self) -> None:
        """Take the next step when no sequence is left to run."""
        if self.unfinished:
            return
        for candidate in self._candidates:
            self._scan(candidate)
        for sequence in self._leaders():
            self._runner.save_state(sequence)
            sequence.limit = min(sequence.num_tokens + STRIDE, len(sequence.ids))
        if self._candidates and not self.unfinished:
            self._accept_best()
        if not self.unfinished:
            self._begin_sentence()

    def output(self, key: Hashable) -> Output:
        """Return what is new since the last call."""
        return self._accepted.output(key)._replace(is_finished=not self.unfinished)

    def remove(self) -> None:
        """Remove all sequences from the runner."""
        for sequence in self._sequences:
            self._runner.remove(sequence)

    @property
    def _sequences(self) -> list[TokenSequence]:
        opening = [] if self._opening is None else [self._opening]
        return [self._accepted, *opening, *(c.sequence for c in self._candidates)]

    def _begin_sentence(self) -> None:
        """Start the opening of a sentence, or its candidates, unless the text is complete."""
        trunk = self._opening or self._accepted
        start = self._accepted.num_tokens
        end = min(start + LONGEST, self._limit)
        if trunk.has_failed:
            self._accepted.fail()
        elif self._is_new_sentence and trunk is self._accepted and end - start > OPENING:
            sampling = opening_config(self._request.sampling)
            self._opening = self._fork(trunk, self._request.sample, sampling, start + OPENING)
            self._opening.limit = start + OPENING
        elif start < end:
            self._recent = as_string(trunk.ids[max(0, start - MEMORY) : start])
            self._start_candidates(trunk, end)

    def _start_candidates(self, trunk: TokenSequence, end: int) -> None:
        """Fork the candidates from a sequence."""
        start, known = self._accepted.num_tokens, trunk.num_tokens
        self._num_drawn += known - start  # of the opening
        for _ in range(self._request.sampling.candidates):
            self._num_candidates += 1
            number = (self._request.sample + (self._num_candidates << 32)) % 2**64  # (sampling.10)
            sequence = self._fork(trunk, number, self._request.sampling, end)
            sequence.limit = min(known + STRIDE, end)
            self._candidates.append(_Candidate(sequence, start, known))

    def _fork(
        self, trunk: TokenSequence, sample: int, sampling: SamplingConfig, end: int
    ) -> TokenSequence:
        request = replace(self._request, sample=sample, sampling=sampling, logprobs=0)
        sequence = trunk.fork(request, end)
        self._runner.fork(trunk, sequence)
        return sequence

    def _scan(self, candidate: _Candidate) -> None:
        """Update a candidate's mean, and complete it if its sentence has ended."""
        sequence = candidate.sequence
        start, known = self._accepted.num_tokens, sequence.num_tokens
        if candidate.num_scanned == known:
            return
        self._num_drawn += known - candidate.num_counted
        ids = sequence.ids[start:known].tolist()
        for end in range(candidate.num_scanned + 1, known + 1):
            if self._boundary.is_end(ids[: end - start]):
                known, candidate.has_ended = end, True
                sequence.complete_at(end)
                break
        candidate.num_scanned = candidate.num_counted = known
        candidate.mean = float(sequence.log_p[start:known].double().mean())
        if candidate.has_ended or known == len(sequence.ids):
            candidate.is_new = not repeats(self._recent, as_string(sequence.ids[start:known]))

    def _leaders(self) -> list[TokenSequence]:
        """Return the sequences that may still win, by (sampling.12)."""
        ended = (c.mean for c in self._candidates if c.has_ended and c.is_new)
        best = max(ended, default=-torch.inf)
        open_ = [c.sequence for c in self._candidates if not c.has_ended and c.mean >= best]
        return [s for s in open_ if s.num_tokens < len(s.ids) and not s.has_failed]

    def _accept_best(self) -> None:
        """Append the best candidate to the accepted text."""
        accepted = self._accepted
        if any(candidate.sequence.has_failed for candidate in self._candidates):
            accepted.fail()
        else:
            # (sampling.11)
            chosen = max(self._candidates, key=lambda c: (c.has_ended, c.is_new, c.mean))
            self._is_new_sentence, best = chosen.has_ended, chosen.sequence
            accepted.extend(best.ids[accepted.num_tokens : best.num_tokens])
            # A scored text is read again, since the candidates have no alternatives.
            if not accepted.is_scored:
                self._runner.restore_state(best, accepted)
                if accepted.num_tokens == self._limit:
                    accepted.num_read = self._limit - 1  # complete: nothing is drawn after it
        for sequence in self._sequences[1:]:
            self._runner.remove(sequence)
        self._opening, self._candidates = None, []


def opening_config(config: SamplingConfig) -> SamplingConfig:
    """Return how the opening of a sentence is drawn: (sampling.13)."""
    return replace(config, temperature=1.0 if config.temperature else 0.0)


def as_string(ids: torch.Tensor) -> str:
    """Return a string with one character per token, in which Python searches fast."""
    return "".join(map(chr, ids.tolist()))


def repeats(recent: str, sentence: str) -> bool:
    """Return whether a run that ends in the sentence occurs earlier in it or in the recent text."""
    text = recent + sentence
    ends = range(max(RUN, len(recent)) + 1, len(text) + 1)
    return any(text.find(text[end - RUN : end], 0, end - 1) >= 0 for end in ends)
