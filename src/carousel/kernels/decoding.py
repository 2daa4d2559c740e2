"""Autoregressive decoding in C++: recurrent layers, the stages of sampling, and the draw.

V tokens, D features of the embedding, L layers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.operators import operators
from carousel.kernels.tensors import unsupported_tensor
from carousel.ops.recurrence import Weights
from carousel.ops.sampling import Settings


class DecoderWeights(NamedTuple):
    """The weights of a model from ids to logits.

    Attributes:
        family: Name of the family of all layers.
        embedding: (V, D) input of the first layer for each id.
        w_ih: Of each layer.
        b_ih: Of each layer.
        weights: Of each layer, those that the time step reads: w_hh and b_hh.
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


def unsupported_reason(model: DecoderWeights, compute_dtype: torch.dtype) -> str | None:
    """Return why no kernel decodes this model; None if one does.

    The compiler is checked last because that may trigger compilation.
    """
    if model.family not in fused.FAMILIES:
        return f"there is no kernel for {model.family}"
    if options := {name for own in model.weights for name in own} - {"w_hh", "b_hh"}:
        return f"there is no kernel with {', '.join(sorted(options))}"
    tensors = [t for t in (model.embedding, *model.w_ih, *model.b_ih, model.w_out) if t is not None]
    tensors += [tensor for own in model.weights for tensor in own.values()]
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return "the kernel keeps weights that are float32"
    return unsupported_tensor(*tensors) or fused.unavailable_reason(compute_dtype)


def unsupported_logits(logits: Tensor) -> str | None:
    """Return why `choose` cannot read these logits; None if it can. May trigger compilation."""
    if logits.dtype != torch.float32:
        return f"the kernel reads float32, and these are {logits.dtype}"
    return unsupported_tensor(logits) or fused.unavailable_reason(torch.float32)


def make_decoder(model: DecoderWeights, compute_dtype: torch.dtype) -> Any:
    """Return the weights packed for `decode`, with products in float32 or bfloat16."""
    return operators().make_decoder(
        model.family,
        model.embedding,
        list(model.w_ih),
        [own["w_hh"] for own in model.weights],
        list(model.b_ih),
        [own.get("b_hh") for own in model.weights],
        model.w_out,
        model.b_out,
        compute_dtype,
    )


def state_size(decoder: Any) -> int:
    """Return how many float32 numbers the state of a sequence has."""
    return int(operators().state_size(decoder))


class DecodeBatch(NamedTuple):
    """M sequences to decode; all tensors but the last two are updated in place.

    Attributes:
        ids: Of each sequence, (capacity,) int64.
        progress: Of each, (4,) int64: how many ids are read; how many are known; how many there
            will be; whether the logits were not finite.
        log_p: Of each, (capacity,) log-probabilities of its ids, or empty if not requested.
        top_ids: Of each, (capacity, K) int64, the likeliest ids, or empty.
        top_log_p: Of each, (capacity, K).
        counts: Of each, (V,) int32: occurrences of each id in the repetition window.
        state: Of each, `state_size` numbers; zeros before the first id.
        numbers: (M, 4) int64: length of the prompt, repetition window, seed and sample (the bits of
            their 64-bit words).
        settings: (M, 5) float64: repetition penalty, temperature, top-k (0: all), top-p, min-p.
    """

    ids: list[Tensor]
    progress: list[Tensor]
    log_p: list[Tensor]
    top_ids: list[Tensor]
    top_log_p: list[Tensor]
    counts: list[Tensor]
    state: list[Tensor]
    numbers: Tensor
    settings: Tensor


def decode(decoder: Any, batch: DecodeBatch, steps: int, interrupted: Tensor) -> None:
    """Read `steps` ids of each sequence, drawing those that are not known; fewer if interrupted.

    Another thread may set interrupted (1,) int32; the call then ends after at most eight steps. A
    sequence that is complete or full before the others stays as it is.
    """
    operators().decode(decoder, *batch, steps, interrupted)


def choose(logits: Tensor, counts: Tensor, settings: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one id per row of logits (B, V) by u (B,), as ops/sampling.py does.

    Returns:
        The ids (B,), -1 where the logits define no distribution; and log p after the last stage
        (B, V) in float64, unspecified there.
    """
    ids, log_p = operators().choose(logits, counts, settings, u)
    return ids, log_p


def settings_row(settings: Settings) -> list[float]:
    """Return settings as a row of `DecodeBatch.settings`."""
    return [
        settings.repetition_penalty,
        settings.temperature,
        min(settings.top_k or 0, 2**53),
        settings.top_p,
        settings.min_p,
    ]
