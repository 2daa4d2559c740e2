"""Writing without Python: a stack of recurrent layers, the stages of sampling and the draw in C++.

V tokens, D features of the embedding, L layers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.tensors import unsupported_tensor
from carousel.ops.recurrence import Weights
from carousel.ops.sampling import Settings


class DecoderWeights(NamedTuple):
    """What a model is to a kernel that writes: ids in, logits out.

    Attributes:
        family: Its name, of all layers.
        embedding: (V, D) what the first layer reads of each id.
        w_ih: Of each layer.
        b_ih: Of each layer.
        weights: Of each layer, what its time steps read: w_hh and b_hh.
        w_out: (V, H).
        b_out: (V,).
    """

    family: str
    embedding: Tensor
    w_ih: Sequence[Tensor]
    b_ih: Sequence[Tensor | None]
    weights: Sequence[Weights]
    w_out: Tensor
    b_out: Tensor | None


def unsupported_reason(stack: DecoderWeights, product: torch.dtype) -> str | None:
    """Say why there is no kernel for this; None if there is. May compile it: that comes last."""
    if stack.family not in fused.FAMILIES:
        return f"there is no kernel for {stack.family}"
    if extras := {name for own in stack.weights for name in own} - {"w_hh", "b_hh"}:
        return f"there is no kernel with {', '.join(sorted(extras))}"
    tensors = [t for t in (stack.embedding, *stack.w_ih, *stack.b_ih, stack.w_out) if t is not None]
    tensors += [tensor for own in stack.weights for tensor in own.values()]
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return "the kernel keeps weights that are float32"
    return unsupported_tensor(*tensors) or fused.unavailable_reason(product)


def unsupported_logits(logits: Tensor) -> str | None:
    """Say why `choose` cannot run on these; None if it can. May compile it: that comes last."""
    if logits.dtype != torch.float32:
        return f"the kernel reads float32, and these are {logits.dtype}"
    return unsupported_tensor(logits) or fused.unavailable_reason(torch.float32)


def make_decoder(stack: DecoderWeights, product: torch.dtype) -> Any:
    """Return the packed weights, for `write`; those of products in float32 or bfloat16."""
    return _operators().machine(
        stack.family,
        stack.embedding,
        list(stack.w_ih),
        [own["w_hh"] for own in stack.weights],
        list(stack.b_ih),
        [own.get("b_hh") for own in stack.weights],
        stack.w_out,
        stack.b_out,
        product,
    )


def state_size(machine: Any) -> int:
    """Return how many float32 numbers the state of a text has."""
    return int(_operators().state_size(machine))


class DecodeBatch(NamedTuple):
    """Texts as the kernel goes on with them, M in number; all is changed in place but the last two.

    Attributes:
        ids: Of each text, those that stand, and room (N,) int64.
        place: Of each (4,) int64: how many are read, stand, will stand; whether logits were none.
        log_p: Of each (N,), the chances of its ids, or empty.
        best: Of each (N, K) int64, the likeliest ids, or empty.
        best_log_p: Of each (N, K).
        counts: Of each (V,) int32: how often each id stands in the repetition window.
        state: Of each `state_size`; zeros before the first id.
        numbers: (M, 4) int64: length of the prompt, repetition window, seed and sample (the bits of
            their 64-bit words).
        stages: (M, 5) float64: repetition penalty, temperature, top-k (0: all), top-p, min-p.
    """

    ids: list[Tensor]
    place: list[Tensor]
    log_p: list[Tensor]
    best: list[Tensor]
    best_log_p: list[Tensor]
    counts: list[Tensor]
    state: list[Tensor]
    numbers: Tensor
    stages: Tensor


def decode(machine: Any, page: DecodeBatch, steps: int, interrupted: Tensor) -> None:
    """Read so many ids of each text, drawing what does not stand yet; fewer if interrupted.

    interrupted (1,) int32 may be set by another thread: then it ends after eight steps at most.
    A text that is over sooner, or has no more room, stays as it is while others go on.
    """
    _operators().write(machine, *page, steps, interrupted)


def choose(logits: Tensor, counts: Tensor, stages: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one id per row of logits (B, V) by u (B,), as ops/sampling.py does.

    Returns:
        The ids (B,), -1 where the logits define no distribution; and log p after the last stage
        (B, V) in float64, unspecified there.
    """
    ids, log_p = _operators().choose(logits, counts, stages, u)
    return ids, log_p


def stage_row(settings: Settings) -> list[float]:
    """Return settings as a row of `stages`."""
    return [
        settings.repetition_penalty,
        settings.temperature,
        min(settings.top_k or 0, 2**53),
        settings.top_p,
        settings.min_p,
    ]


def _operators() -> Any:
    return torch.ops.carousel
