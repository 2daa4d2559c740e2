"""Turn the engine's outputs into what the worker reports: characters instead of token ids."""

from collections import deque
from typing import Any

from carousel.data.vocabulary import Vocabulary
from carousel.generation.request import Output, Request, TokenLogprob
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.stop import StopMatcher
from carousel.server.types import Job


class OutputProcessor:
    """One text in the worker.

    Attributes:
        request: What the engine is to generate.
    """

    def __init__(self, job: Job, vocabulary: Vocabulary) -> None:
        """Encode a job; TextError if a character of its prompt is unknown."""
        if job.prompt:
            prompt = vocabulary.encode(job.prompt).tolist()
        else:  # begin a line
            prompt = [vocabulary.stoi.get("\n", 0)]
        has_candidates = job.sampling.candidates > 1
        self.request = Request(
            prompt=prompt,
            length=job.length,
            sampling=job.sampling,
            sample=job.sample,
            logprobs=job.logprobs,
            boundary=SentenceBoundary.of(vocabulary.itos) if has_candidates else None,
        )
        self._prompt_logprobs = job.prompt_logprobs
        self._itos = vocabulary.itos
        self._matcher = StopMatcher(job.stop)
        self._prompt_left = len(prompt) - 1  # log-probabilities of the prompt still to come
        self._held: deque[list[Any]] = deque()  # those of characters that the matcher holds back

    def process(self, output: Output) -> tuple[str, list[list[Any]], str | None, str | None, int]:
        """Return text, logprobs, finish, error and num_drawn, as in protocol.py."""
        logprobs = [self._in_characters(logprob) for logprob in output.logprobs]
        of_prompt, of_drawn = logprobs[: self._prompt_left], logprobs[self._prompt_left :]
        self._prompt_left -= len(of_prompt)
        self._held.extend(of_drawn)
        text, is_met = self._matcher.add("".join(self._itos[token] for token in output.ids))
        is_complete = output.is_finished and not is_met
        if is_complete:
            text += self._matcher.rest()
        reported = of_prompt if self._prompt_logprobs else []
        if self.request.logprobs is not None:
            reported += [self._held.popleft() for _ in text]
        if output.error and not is_met:
            error = f"the model's weights are damaged or diverged: {output.error}"
            return text, reported, None, error, output.num_drawn
        finish = "stop" if is_met else "length" if is_complete else None
        return text, reported, finish, None, output.num_drawn

    def _in_characters(self, logprob: TokenLogprob) -> list[Any]:
        return [logprob.log_p, [[self._itos[token], p] for token, p in logprob.top]]
