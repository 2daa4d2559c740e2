"""A writer without a model, in memory: what it writes follows from the job, and can be foretold."""

import math
import random
import time
from collections.abc import Callable, Sequence

from carousel.data.default_prompt import opening_of
from carousel.data.vocabulary import Vocabulary
from carousel.errors import CarouselError
from carousel.generation.stop import until_stop
from carousel.server.types import Busy, CharacterLogprob, Chunk, Job, ModelInfo

CHARACTERS = tuple("\n abcdefé“<>&/\x1b\u202e😀")


def model_info(
    name: str = "small", characters: Sequence[str] = CHARACTERS, **others: object
) -> ModelInfo:
    """Return a card; `max_length` may be given."""
    opening = opening_of({}, Vocabulary(tuple(characters)))
    longest = others.get("max_length")
    return ModelInfo(name, tuple(characters), longest, opening, created=1_700_000_000)


def drawn(job: Job, characters: Sequence[str] = CHARACTERS) -> str:
    """Return what a job's text would be without stop strings."""
    chooser = random.Random(repr((job.prompt, job.sampling, job.sample)))
    return "".join(chooser.choices(characters, k=job.length))


def log_p(text: str, place: int) -> float:
    """Return the chance that a character of a prompt and its text is said to have."""
    return -(1 + (ord(text[place]) + 3 * ord(text[place - 1])) % 7) / 2


class FakeText:
    """A text of which `pace` characters come every `delay` seconds; at 0 it is there at once."""

    def __init__(self, engine: "FakeEngine", job: Job) -> None:
        self._engine = engine
        self._scored = job.prompt if job.prompt_logprobs else ""
        chunks = until_stop(drawn(job, engine.model_info.characters), job.stop)
        written = []
        while True:
            try:
                written.append(next(chunks))
            except StopIteration as end:
                self._finish = end.value
                break
        self._text = "".join(written)
        self._whole = (job.prompt or "\n") + self._text
        self._start = len(self._whole) - len(self._text)
        self._candidates = job.sampling.candidates
        self._k = job.logprobs
        self._told = 0
        self._due = time.monotonic() + engine.delay
        self.is_over = self.is_cancelled = False

    def next(self, timeout: float) -> Chunk | None:
        """Return the next piece; what goes wrong is set at the writer."""
        if self._engine.failure is not None:
            raise self._engine.failure
        wait = self._due - time.monotonic()
        time.sleep(max(0, min(timeout, wait)))
        if wait > timeout:
            return None
        self._due += self._engine.delay
        start, self._told = self._told, self._told + self._engine.pace
        text = self._text[start : self._told]
        self.is_over = self._told >= len(self._text)
        finish_reason = self._finish if self.is_over else None
        return Chunk(text, self._chances(start, text), finish_reason, self._draws(len(text)))

    def _draws(self, length: int) -> int:
        """Return what was drawn for so much of it; after a stop string, no more."""
        return length * self._candidates

    def _chances(self, start: int, text: str) -> list[CharacterLogprob]:
        if self._k is None:
            return []
        first = self._start + start
        places = list(range(first, first + len(text)))
        if start == 0:
            places = [*range(1, len(self._scored)), *places]
        characters = self._engine.model_info.characters[: self._k]
        likeliest = [(character, -0.1 - i) for i, character in enumerate(characters)]
        return [CharacterLogprob(log_p(self._whole, place), likeliest) for place in places]

    def cancel(self, on_drawn: Callable[[int], None] = lambda drawn: None) -> None:
        """Stop."""
        self.is_cancelled = True


class FakeEngine:
    """Writes at once, or as slowly as is said.

    Args:
        about: Its card.
        pace: Characters of a piece.
        delay: Seconds that a piece takes.
        max_texts: Texts at the same time.
    """

    def __init__(
        self,
        about: ModelInfo | None = None,
        *,
        pace: int = 7,
        delay: float = 0,
        max_texts: int = 64,
    ) -> None:
        self.model_info = about or model_info()
        self.pace = pace
        self.delay = delay
        self.max_texts = max_texts
        self.failure: Exception | None = None  # of every text
        self.api_error: CarouselError | None = None  # of every job
        self.why_not: str | None = None
        self.jobs: list[Job] = []
        self.texts: list[FakeText] = []

    def unavailable_reason(self) -> str | None:
        """Return what is set."""
        return self.why_not

    def submit(self, jobs: Sequence[Job], client: str = "") -> list[FakeText]:
        """Begin these texts."""
        if self.api_error is not None:
            raise self.api_error
        live = [text for text in self.texts if not (text.is_over or text.is_cancelled)]
        if len(live) + len(jobs) > self.max_texts:
            raise Busy(f"{len(live)} texts are being written already; try again in a moment")
        self.texts = live + [FakeText(self, job) for job in jobs]
        self.jobs += jobs
        return self.texts[len(live) :]


def mean_surprise(text: str) -> float:
    """Return the mean surprise of a scored text, in bits."""
    places = range(1, len(text))
    return -sum(log_p(text, place) for place in places) / len(places) / math.log(2)
