"""What stands between the embedding and the output: one interface, a body for each family."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from carousel.models.base import State

Embed = Callable[[Tensor], Tensor]


class Body(nn.Module, ABC):
    """Inputs in, features and a state out; the state obeys the streaming law of `LanguageModel`.

    Inputs are ids (B, T) or features (B, T, F); `embed` makes of either what the layers read,
    (B, T, D). It is handed over, since what a state holds may be the inputs themselves.
    """

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first position."""

    @abstractmethod
    def forward(
        self, inputs: Tensor, embed: Embed, state: State | None
    ) -> tuple[Float[Tensor, "B T P"], State]:
        """Return features of each position, and the state after the last; None: the initial one."""

    @abstractmethod
    def initialize(self) -> None:
        """Draw the parameters as suits the architecture, in place."""
