"""What runs the model for the engine."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from carousel.generation.token_sequence import TokenSequence


class Runner(Protocol):
    """Reads and draws the tokens of sequences: `KernelRunner` or `TorchRunner`."""

    def add(self, sequence: TokenSequence) -> None:
        """Add a sequence of which nothing is read."""

    def fork(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Add another sequence with a copy of this one's state."""

    def save_state(self, sequence: TokenSequence) -> None:
        """Keep the state of a sequence whose last token alone is not read."""

    def restore_state(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Give another sequence of the same tokens the state that was saved here, if any."""

    def remove(self, sequence: TokenSequence) -> None:
        """Remove a sequence."""

    def run(self, sequences: Sequence[TokenSequence], seconds: float, interrupted: Tensor) -> None:
        """Run for about this long, until one sequence is complete or full, or until interrupted."""
