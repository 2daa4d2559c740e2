"""A language model whose distribution is known: a Markov chain of the second order."""

import torch

from carousel.models.base import LanguageModel


class Markov(LanguageModel):
    """P(next | previous, current) = softmax(table[previous, current]); the state is the previous.

    Before the first token stands token 0. Since the state matters, a sampler that loses it, or
    reads a prompt twice, draws from another distribution.
    """

    def __init__(self, vocab_size: int, *, seed: int = 0, sharpness: float = 1.0) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        generator = torch.Generator().manual_seed(seed)
        self.table = sharpness * torch.randn((vocab_size,) * 3, generator=generator)
        self.eval()

    def initial_state(self, batch_size):
        return (torch.zeros(1, batch_size, dtype=torch.long),)

    def forward(self, tokens, state=None):
        (last,) = self.initial_state(len(tokens)) if state is None else state
        previous = torch.cat([last.T, tokens[:, :-1]], dim=1)
        return self.table[previous, tokens], (tokens[:, -1:].T,)
