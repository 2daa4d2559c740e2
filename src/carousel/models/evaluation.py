"""How well a model predicts a text: the state is carried from the first character to the last."""

from collections.abc import Callable

import torch

from carousel.data.batches import evaluation_lanes
from carousel.data.range_view import IdSequence
from carousel.models.base import LanguageModel, State
from carousel.models.loss import cross_entropy


@torch.no_grad()
def evaluate(
    model: LanguageModel,
    ids: IdSequence,
    *,
    lanes: int = 1,
    chunk: int = 256,
    proceed: Callable[[int], bool] = lambda done: True,
) -> float | None:
    """Return the mean loss in nats per character over every character of ids but the first.

    A model that cannot read on without end reads pieces of its longest stream, each from the
    beginning.

    Args:
        model: Put into evaluation mode here, and back into its mode after.
        ids: Token ids of the text, at least 2.
        lanes: The text is read in this many pieces side by side, each from the zero state;
            1 carries the state through the whole text.
        chunk: Characters of a lane per call.
        proceed: Told the number of characters done after each call; False abandons the evaluation.

    Returns:
        Nats per character, or None if abandoned.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        total, done = 0.0, 0
        state: State | None = None
        for batch in evaluation_lanes(ids, lanes, model.max_length or chunk):
            tokens = torch.from_numpy(batch.tokens).to(device)
            targets = torch.from_numpy(batch.targets).to(device)
            logits, after = model(tokens, state)
            state = after if model.max_length is None else None
            losses = cross_entropy(logits, targets).cpu().double()  # mps has no float64
            total += float(losses[torch.from_numpy(batch.mask)].sum())
            done += int(batch.mask.sum())
            if not proceed(done):
                return None
        return total / done
    finally:
        model.train(was_training)
