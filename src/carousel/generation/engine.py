"""Many texts at once: they join and leave at any character, and all go on at the same pace.

What a text becomes depends on its model and its task alone: not on who else is written, when it
joined, or how long it is let go on at a time.
"""

import time
from collections.abc import Hashable

import torch

from carousel.errors import ConfigError
from carousel.generation.kernel_runner import compiled
from carousel.generation.request import Draft, News, Task
from carousel.generation.sentence_best_of import Sentences
from carousel.generation.single_sample import Straight, Way
from carousel.generation.torch_runner import Plain
from carousel.models.base import LanguageModel

ROWS = 16  # of a batch, where the model is run by its own forward
PRODUCTS = {"float32": torch.float32, "bf16": torch.bfloat16}  # by the names that people give


class Engine:
    """Writes the texts of one model; used by one thread, but for `interrupt`."""

    def __init__(
        self, model: LanguageModel, *, product: torch.dtype = torch.float32, rows: int = ROWS
    ) -> None:
        """Prepare to write.

        Args:
            model: In evaluation mode; its parameters are not touched, and must not change.
            product: The type of the products, where a kernel can give it: float32, or bfloat16.
            rows: Texts computed together where there is no kernel; more in turns.

        Raises:
            ValueError: If the model is in training mode, where dropout would make a text depend
                on torch's global generator.
        """
        if model.training:
            raise ValueError("the model is in training mode: call model.eval() first")
        self._model = model
        self._texts: dict[Hashable, Straight | Sentences] = {}
        self._counted: dict[Hashable, int] = {}  # ids drawn that were reported
        self._paused: set[Hashable] = set()
        self._interrupted = torch.zeros(1, dtype=torch.int32)
        self._way: Way = compiled(model, product) or Plain(model, rows)

    def __len__(self) -> int:
        """Return how many texts are not over."""
        return len(self._texts)

    def join(self, key: Hashable, task: Task) -> None:
        """Take up a text; the next `advance` begins it.

        Raises:
            ConfigError: If the model's positions end before the text does.
            ValueError: If an id is none of the model's, or the key is in use.
        """
        if key in self._texts:
            raise ValueError(f"a text is being written under the key {key!r}")
        if not all(0 <= token < self._model.vocab_size for token in task.prompt):
            raise ValueError(f"ids must be from 0 to {self._model.vocab_size - 1}")
        longest = self._model.longest_stream
        # The last id that is drawn need not be read.
        if longest is not None and len(task.prompt) + task.length - 1 > longest:
            raise ConfigError(
                f"this model has positions for {longest} characters; the prompt has "
                f"{len(task.prompt)} and {task.length} are to follow"
            )
        vocab_size = self._model.vocab_size
        if task.sampling.candidates > 1 and task.marks is not None and task.length:
            self._texts[key] = Sentences(task, task.marks, vocab_size, self._way)
        else:
            self._texts[key] = Straight(task, vocab_size, self._way)

    def leave(self, key: Hashable) -> int:
        """Forget a text, if it is there; return the ids drawn for it since the last news."""
        text = self._texts.pop(key, None)
        if text is None:
            return 0
        text.leave()
        self._paused.discard(key)
        return text.drawn - self._counted.pop(key, 0)

    def pause(self, key: Hashable) -> None:
        """Leave a text as it is, until it is resumed."""
        if key in self._texts:
            self._paused.add(key)

    def resume(self, key: Hashable) -> None:
        """Go on with a text that is paused."""
        self._paused.discard(key)

    @property
    def is_idle(self) -> bool:
        """Whether there is no text, or all are paused."""
        return len(self._paused) == len(self._texts)

    def advance(self, seconds: float) -> list[News]:
        """Go on with all texts for about so long, and return the news of each."""
        self.write(seconds)
        return self.news()

    def write(self, seconds: float) -> bool:
        """Go on with all texts for about so long, or to their ends, by one step at least.

        A step reads a character of the prompt or draws one.

        Returns:
            Whether there is more to write.
        """
        end = time.monotonic() + seconds
        while writing := self._writing():
            for draft in writing:
                draft.make_room()
            self._way.write(writing, max(0.0, end - time.monotonic()), self._interrupted)
            for text in self._texts.values():
                text.go_on()
            if self._interrupted or time.monotonic() >= end:
                break
        self._interrupted.zero_()
        return bool(self._writing())

    def news(self) -> list[News]:
        """Return what has become of each text since the last news; those that are over leave."""
        news = []
        for key, text in self._texts.items():
            drawn = text.drawn
            news.append(text.news(key)._replace(drawn=drawn - self._counted.get(key, 0)))
            self._counted[key] = drawn
        for each in news:
            if each.is_over:
                self.leave(each.key)
        return news

    def _writing(self) -> list[Draft]:
        """Return what is to be gone on with, of all texts that are not paused."""
        texts = (text for key, text in self._texts.items() if key not in self._paused)
        return [draft for text in texts for draft in text.writing]

    def interrupt(self) -> None:
        """End a `write` under way, or the next, after a few characters; from any thread."""
        self._interrupted.fill_(1)
