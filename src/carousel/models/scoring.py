"""The log-probability of each character of a text."""

import torch
from jaxtyping import Float
from torch import Tensor

from carousel.data.batches import evaluation_lanes
from carousel.data.range_view import IdSequence
from carousel.models.base import LanguageModel, State
from carousel.models.loss import cross_entropy


@torch.no_grad()
def log_probabilities(
    model: LanguageModel, ids: IdSequence, *, chunk: int = 256
) -> Float[Tensor, " M"]:
    """Return the log-probability of every character of ids but the first, in nats.

    The state is carried through the text, as `evaluate` does on one lane: minus the mean is its
    loss.

    Args:
        model: In evaluation mode.
        ids: Token ids of the text, N of them, at least 2.
        chunk: Characters per call.

    Returns:
        (N - 1,), float64, on the CPU.
    """
    device = next(model.parameters()).device
    state: State | None = None
    found = []
    for batch in evaluation_lanes(ids, 1, model.max_length or chunk):
        tokens = torch.from_numpy(batch.tokens).to(device)
        targets = torch.from_numpy(batch.targets).to(device)
        logits, after = model(tokens, state)
        state = after if model.max_length is None else None
        found.append(-cross_entropy(logits, targets)[0].cpu().double())
    return torch.cat(found)
