"""A text that is drawn once, from its first token to its last."""

from collections.abc import Hashable

from carousel.generation.request import Output, Request
from carousel.generation.runner import Runner
from carousel.generation.token_sequence import TokenSequence


class SingleSample:
    """One request of the engine, drawn once; `SentenceBestOf` is the other kind."""

    def __init__(self, request: Request, vocab_size: int, runner: Runner) -> None:
        self._sequence = TokenSequence(request, vocab_size)
        self._runner = runner
        runner.add(self._sequence)

    @property
    def unfinished(self) -> list[TokenSequence]:
        """Return the sequence if it is not complete."""
        return [self._sequence] if self._sequence.steps_left else []

    @property
    def num_drawn(self) -> int:
        """Return how many tokens were drawn so far."""
        return self._sequence.num_tokens - len(self._sequence.request.prompt)

    def update(self) -> None:
        """Do nothing: there is nothing to choose between."""

    def output(self, key: Hashable) -> Output:
        """Return what is new since the last call."""
        return self._sequence.output(key)

    def remove(self) -> None:
        """Remove the sequence from the runner."""
        self._runner.remove(self._sequence)
