"""A text in the worker, on its way from the ids that the engine tells to characters."""

from collections import deque
from typing import Any

from carousel.data.vocabulary import Vocabulary
from carousel.generation.request import Chance, News, Task
from carousel.generation.sentence_boundary import Marks
from carousel.generation.stop import Ending
from carousel.server.types import Job


class WorkerText:
    """What the front is told of a text.

    Attributes:
        task: What the engine is asked for.
    """

    def __init__(self, job: Job, vocabulary: Vocabulary) -> None:
        """Prepare a job; TextError if a character of its prompt is unknown."""
        if job.prompt:
            prompt = vocabulary.encode(job.prompt).tolist()
        else:  # a line is begun
            prompt = [vocabulary.stoi.get("\n", 0)]
        self.task = Task(
            prompt=prompt,
            length=job.length,
            sampling=job.sampling,
            sample=job.sample,
            alternatives=job.alternatives,
            marks=Marks.of(vocabulary.itos) if job.sampling.candidates > 1 else None,
        )
        self._is_scored = job.is_scored
        self._itos = vocabulary.itos
        self._ending = Ending(job.stop)
        self._prompt_left = len(prompt) - 1  # chances of the prompt that are still to come
        self._chances: deque[list[Any]] = deque()  # of drawn characters not yet passed on

    def read(self, news: News) -> tuple[str, list[list[Any]], str | None, str | None, int]:
        """Return what the front is told: text, chances, finish, error, ids drawn."""
        chances = [self._in_characters(chance) for chance in news.chances]
        of_prompt, of_drawn = chances[: self._prompt_left], chances[self._prompt_left :]
        self._prompt_left -= len(of_prompt)
        self._chances.extend(of_drawn)
        text, is_met = self._ending.add("".join(self._itos[token] for token in news.ids))
        is_over = news.is_over and not is_met
        if is_over:
            text += self._ending.rest()
        told = of_prompt if self._is_scored else []
        if self.task.alternatives is not None:
            told += [self._chances.popleft() for _ in text]
        if news.error and not is_met:
            error = f"the model's weights are damaged or diverged: {news.error}"
            return text, told, None, error, news.drawn
        finish = "stop" if is_met else "length" if is_over else None
        return text, told, finish, None, news.drawn

    def _in_characters(self, chance: Chance) -> list[Any]:
        return [chance.log_p, [[self._itos[token], p] for token, p in chance.alternatives]]
