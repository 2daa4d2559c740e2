"""A text that is drawn once, from its first character to its last; and what writes drafts."""

from collections.abc import Hashable, Sequence
from typing import Protocol

from torch import Tensor

from carousel.generation.request import Draft, News, Task


class Way(Protocol):
    """How drafts are written: `Compiled` or `Plain`."""

    def join(self, draft: Draft) -> None:
        """Take up a text."""

    def fork(self, draft: Draft, other: Draft) -> None:
        """Take up a text that has come as far as another, but for the last id, which it reads."""

    def keep(self, draft: Draft) -> None:
        """Remember where a text stands, all read but its last id."""

    def go_back(self, draft: Draft, other: Draft) -> None:
        """Let another text, of the same ids so far, stand where this one was kept, if it was."""

    def leave(self, draft: Draft) -> None:
        """Forget a text."""

    def write(self, drafts: Sequence[Draft], seconds: float, interrupted: Tensor) -> None:
        """Go on with these for about so long, until one of them ends or needs room."""


class Straight:
    """A text that the engine writes; `Sentences` is the other kind."""

    def __init__(self, task: Task, vocab_size: int, way: Way) -> None:
        """Take up a task, in such a way."""
        self._draft = Draft(task, vocab_size)
        self._way = way
        way.join(self._draft)

    @property
    def writing(self) -> list[Draft]:
        """The draft, if the engine is to go on with it."""
        return [self._draft] if self._draft.steps_left else []

    @property
    def drawn(self) -> int:
        """Return how many ids were drawn so far."""
        return int(self._draft.place[1]) - len(self._draft.task.prompt)

    def go_on(self) -> None:
        """Do what is due, now that the engine has gone on: nothing."""

    def news(self, key: Hashable) -> News:
        """Return what is new since this was last asked."""
        return self._draft.news(key)

    def leave(self) -> None:
        """Let the way forget the text."""
        self._way.leave(self._draft)
