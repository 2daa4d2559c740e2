"""The interface of a model's backbone, between the embedding and the output layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from carousel.models.base import State

Embed = Callable[[Tensor], Tensor]


def check_inputs(inputs: object, input_size: int | None) -> None:
    """Check the axes of an input: ids (B, T), or features (B, T, F) with an input_size.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If axes or features are others.
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs must be a tensor, got {type(inputs).__name__}")
    shape = tuple(inputs.shape)
    if input_size is None and len(shape) != 2:
        raise ValueError(f"ids must be of shape (B, T), got {shape}")
    if input_size is not None and (len(shape) != 3 or shape[2] != input_size):
        raise ValueError(f"features must be of shape (B, T, {input_size}), got {shape}")


class Backbone(nn.Module, ABC):
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
