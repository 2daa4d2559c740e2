"""What the streaming law speaks of: a model's outputs, its last state, and every gradient."""

import torch
from torch import Tensor

from carousel.models.base import LanguageModel, State
from carousel.models.config import ModelConfig
from carousel.models.sequence import SequenceModel
from models.small_models import V

B, T = 3, 9
PASTS = (2, 5, 0)  # what each row of a batch has read before: its rows remember differently


Streaming = LanguageModel | SequenceModel


def tokens(batch: int = B, length: int = T, seed: int = 1) -> Tensor:
    return torch.randint(V, (batch, length), generator=torch.Generator().manual_seed(seed))


def sight(config: ModelConfig) -> int:
    """How many characters an output depends on, its own included."""
    match config.model:
        case "mlp":
            return config.context
        case "transformer":  # each layer sees C - 1 further back
            return config.num_layers * (config.context - 1) + 1
        case _:
            return 10**9


def after_a_past(model: Streaming, past: Tensor) -> State:
    """The state of a batch whose row b has read the first PASTS[b] of past (B, …), and no more.

    Its numbers, those of one that counts aside, want a gradient.
    """
    rows = [
        model(past[b : b + 1, :n])[1] if n else model.initial_state(1) for b, n in enumerate(PASTS)
    ]
    parts = [torch.cat(part, dim=1).detach() for part in zip(*rows, strict=True)]
    return tuple(part.requires_grad_(part.is_floating_point()) for part in parts)


def results(
    model: Streaming, outputs: Tensor, last: State, start: State | None
) -> dict[str, Tensor]:
    """Outputs, last state, and the gradients of a random weighted sum of both."""
    generator = torch.Generator().manual_seed(3)
    found = {"outputs": outputs} | {f"state.{k}": s for k, s in enumerate(last)}
    smooth = [part for part in found.values() if part.is_floating_point()]
    loss = torch.stack(
        [(torch.randn(part.shape, generator=generator).double() * part).sum() for part in smooth]
    ).sum()
    inputs = dict(model.named_parameters())
    inputs |= {f"start.{k}": s for k, s in enumerate(start or ()) if s.requires_grad}
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    found = {name: part.double() for name, part in found.items()}  # counts have no norm
    return found | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def in_pieces(
    model: Streaming, inputs: Tensor, state: State | None, cuts: list[int]
) -> tuple[Tensor, State]:
    """Run each piece of the inputs (B, T, …) on the state that the one before left."""
    pieces = []
    for piece in inputs.tensor_split(cuts, dim=1):
        if piece.shape[1]:
            outputs, state = model(piece, state)
            pieces.append(outputs)
    assert state is not None
    return torch.cat(pieces, dim=1), state


def each_row_alone(model: Streaming, inputs: Tensor, start: State) -> tuple[Tensor, State]:
    """Run each row in a batch of its own, and put the rows together again."""
    rows = [model(inputs[b : b + 1], tuple(s[:, b : b + 1] for s in start)) for b in range(B)]
    last = tuple(torch.cat(parts, dim=1) for parts in zip(*(s for _, s in rows), strict=True))
    return torch.cat([outputs for outputs, _ in rows]), last
