"""The one interface that training, sampling and serving rely on."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

State = tuple[Tensor, ...]  # opaque, but for one thing: axis 1 of each tensor is the batch


class LanguageModel(nn.Module, ABC):
    """Token ids in, next-token logits and a state out.

    The streaming law: the state carries everything the model remembers. Calling forward once on
    T tokens, or T times on one token handing the state along, or on any split of them, gives the
    same logits and the same gradients; so does a state saved and restored, or one row of a batch.
    Outside its own model a state is opaque: it may be kept, detached, moved, and its rows (axis 1
    of each tensor) taken apart or put together, but what the numbers mean is the model's affair.

    Attributes:
        vocab_size: Number of distinct tokens, V.
        max_length: Tokens that it can read from one beginning; None: there is no end.
    """

    vocab_size: int
    max_length: int | None = None

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first token; forward without a state begins with it."""

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "B T"], state: State | None = None
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Return the logits of the next token at each position, and the state after the last."""
