"""From logits to the next token: the stages of sampling, as functions.

Equations: math/sampling/equations.md. Each stage maps a distribution to a distribution, given
and returned as the logarithms of its probabilities, in float64; what a stage takes away has
log p = -inf and returns in no later stage. Their order stands once, in `stages`.

Shapes: V tokens of the vocabulary; *B any leading axes, row by row independent of one another.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor


class Settings(NamedTuple):
    """How the stages shape the distribution; by default they leave the model's own as it is.

    Attributes:
        repetition_penalty: Multiplies log p of the tokens seen recently; 1 leaves them alone.
        temperature: Divides log p; 0 leaves the most probable token only.
        top_k: Number of tokens kept, the most probable ones; None keeps all.
        top_p: Probability mass kept, of the most probable tokens; 1 keeps all.
        min_p: Least probability kept, as a fraction of the greatest; 0 keeps all.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0


def stages(
    logits: Float[Tensor, "*B V"], recent: Bool[Tensor, "*B V"], settings: Settings
) -> dict[str, Float64[Tensor, "*B V"]]:
    """Return log p after each stage, by its name and in the order of the stages.

    Args:
        logits: Unnormalised scores; a constant added to them changes nothing.
        recent: The tokens in the repetition window, as `present` marks them.
        settings: What each stage is told.

    Raises:
        ValueError: If the logits define no distribution.
    """
    after = {}
    after["model"] = log_p = log_probabilities(logits)
    after["repetition_penalty"] = log_p = penalise_repetition(
        log_p, recent, settings.repetition_penalty
    )
    after["temperature"] = log_p = apply_temperature(log_p, settings.temperature)
    after["top_k"] = log_p = keep_top_k(log_p, settings.top_k)
    after["top_p"] = log_p = keep_top_p(log_p, settings.top_p)
    after["min_p"] = keep_min_p(log_p, settings.min_p)
    return after


def distribution(
    logits: Float[Tensor, "*B V"], recent: Bool[Tensor, "*B V"], settings: Settings
) -> Float64[Tensor, "*B V"]:
    """Return the probabilities that the next token is drawn from: those after the last stage."""
    return stages(logits, recent, settings)["min_p"].exp()


def log_probabilities(logits: Float[Tensor, "*B V"]) -> Float64[Tensor, "*B V"]:
    """Return the distribution of the model itself: log softmax, (sampling.1).

    Raises:
        ValueError: If a row of logits holds NaN or +inf, or -inf alone.
    """
    log_p = torch.log_softmax(logits.double(), dim=-1)
    if log_p.isnan().any():
        raise ValueError("the logits define no distribution: NaN or infinity among them")
    return log_p


def present(ids: Int[Tensor, " N"], vocab_size: int) -> Bool[Tensor, " V"]:
    """Mark the tokens that occur among ids, once however often they do."""
    return torch.zeros(vocab_size, dtype=torch.bool).index_fill(0, ids, True)


def penalise_repetition(
    log_p: Float64[Tensor, "*B V"], recent: Bool[Tensor, "*B V"], penalty: float
) -> Float64[Tensor, "*B V"]:
    """Raise the probability of recent tokens to the power of the penalty, (sampling.2).

    It acts on log p, not on the logits as Keskar et al. 2019 (section 4.1) have it: theirs
    depends on a constant added to the logits, which the distribution does not. Above 1 recent
    tokens become rarer, below 1 more frequent.
    """
    if penalty == 1:
        return log_p
    return torch.log_softmax(torch.where(recent, log_p * penalty, log_p), dim=-1)


def apply_temperature(
    log_p: Float64[Tensor, "*B V"], temperature: float
) -> Float64[Tensor, "*B V"]:
    """Sharpen (T < 1) or flatten (T > 1) the distribution, (sampling.3).

    With -log p as the energy of a token this is Boltzmann's distribution at temperature T: the
    ratio of two probabilities is exp of the difference of their energies over T. At T -> 0 the
    least energy takes all; T = 0 is that limit, with the lowest id where several tie,
    (sampling.4).
    """
    if temperature == 1:
        return log_p
    if temperature == 0:
        best = log_p.argmax(dim=-1, keepdim=True)  # the first of equals
        return torch.full_like(log_p, -math.inf).scatter(-1, best, 0.0)
    below_best = log_p - log_p.amax(dim=-1, keepdim=True)  # 0 for the best: T may be tiny
    return torch.log_softmax(below_best / temperature, dim=-1)


def keep_top_k(log_p: Float64[Tensor, "*B V"], k: int | None) -> Float64[Tensor, "*B V"]:
    """Keep the k most probable tokens: exactly k, the lower ids of equals, (sampling.5)."""
    if k is None or k >= log_p.shape[-1]:
        return log_p
    return _keep(
        log_p, torch.zeros_like(log_p, dtype=torch.bool).scatter(-1, _ranked(log_p)[..., :k], True)
    )


def keep_top_p(log_p: Float64[Tensor, "*B V"], p: float) -> Float64[Tensor, "*B V"]:
    """Keep the fewest tokens whose mass reaches p, the lower ids of equals, (sampling.6).

    A token stays if those ranked before it hold less than p together, so at least one stays.
    """
    if p >= 1:
        return log_p
    ranked = _ranked(log_p)
    mass = log_p.gather(-1, ranked).exp().cumsum(dim=-1)
    mass_before = torch.cat([torch.zeros_like(mass[..., :1]), mass[..., :-1]], dim=-1)
    return _keep(
        log_p, torch.zeros_like(log_p, dtype=torch.bool).scatter(-1, ranked, mass_before < p)
    )


def keep_min_p(log_p: Float64[Tensor, "*B V"], fraction: float) -> Float64[Tensor, "*B V"]:
    """Keep the tokens at least `fraction` times as probable as the best one, (sampling.7)."""
    if fraction == 0:
        return log_p
    return _keep(log_p, log_p >= log_p.amax(dim=-1, keepdim=True) + math.log(fraction))


def draw(probabilities: Float64[Tensor, "*B V"], u: Float64[Tensor, "*B"]) -> Int[Tensor, "*B"]:
    """Return the token at which the cumulative distribution by id passes u, (sampling.8).

    Args:
        probabilities: What `distribution` returns; only their ratios matter.
        u: One number in [0, 1) per row.

    Returns:
        One id per row, never one of probability 0: the cumulative sum rises at the id returned,
        and lies above u times the whole sum there, rounding included.

    Raises:
        ValueError: If a row holds NaN, or no probability at all.
    """
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[..., -1:]
    if not (total > 0).all():
        raise ValueError("the probabilities hold NaN, or are all 0")
    return (cumulative <= u.unsqueeze(-1) * total).sum(dim=-1)


def uniform(seed: int, n: int, t: int) -> float:
    """Return the number in [0, 1) that decides draw t of sample n under a seed, (sampling.9).

    It is the first 64-bit word of the block that Philox4x64-10 makes of the counter words
    (t, n, 0, 0) and the key words (seed, 0), lowest first; its upper 53 bits times 2⁻⁵³.
    Any draw is found without those before it, in any order, and by any program.

    Args:
        seed: From 0, below 2⁶⁴.
        n: Number of the sample, from 0, below 2⁶⁴.
        t: Number of the draw, from 0, below 2⁶⁴.

    Source:
        Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    counter = (n << 64) + t
    # numpy adds 1 to the counter before its first block
    philox = np.random.Philox(key=seed, counter=(counter - 1) % 2**256)
    return (int(philox.random_raw()) >> 11) * 2.0**-53


def _ranked(log_p: Float64[Tensor, "*B V"]) -> Int[Tensor, "*B V"]:
    """Return the ids from the most to the least probable, the lower of equals first."""
    return log_p.argsort(dim=-1, descending=True, stable=True)


def _keep(log_p: Float64[Tensor, "*B V"], kept: Bool[Tensor, "*B V"]) -> Float64[Tensor, "*B V"]:
    """Remove the other tokens and renormalise the kept ones."""
    return torch.log_softmax(log_p.masked_fill(~kept, -math.inf), dim=-1)
