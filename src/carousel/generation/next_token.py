"""Draw the next token of each text from its logits: by the kernel, or by ops/sampling.py."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from carousel.generation.config import SamplingConfig
from carousel.generation.token_sequence import TokenSequence
from carousel.kernels import decoding
from carousel.kernels.dispatch import choose_kernel
from carousel.ops.sampling import Settings, distribution, draw, present, uniform


def draw_next(sequences: Sequence[TokenSequence], logits: Float[Tensor, "M V"]) -> list[int | None]:
    """Return the token drawn after each sequence; None where the logits are not finite."""
    numbers = [float(_uniform(sequence)) for sequence in sequences]
    if sequences and choose_kernel(lambda: decoding.unsupported_logits(logits)):
        counts = [torch.bincount(recent_ids(s), minlength=logits.shape[1]) for s in sequences]
        rows = [decoding.settings_row(sampler_settings(s.request.sampling)) for s in sequences]
        ids, _ = decoding.choose(
            logits.contiguous(),
            torch.stack(counts).int(),
            torch.tensor(rows, dtype=torch.float64),
            torch.tensor(numbers, dtype=torch.float64),
        )
        return [None if token < 0 else token for token in ids.tolist()]
    return [
        _draw(z, recent_ids(sequence), sampler_settings(sequence.request.sampling), u)
        for sequence, z, u in zip(sequences, logits, numbers, strict=True)
    ]


def sampler_settings(config: SamplingConfig) -> Settings:
    """Return the part of a configuration that shapes the distribution."""
    return Settings(
        repetition_penalty=config.repetition_penalty,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
    )


def recent_ids(sequence: TokenSequence) -> Tensor:
    """Return the tokens in the repetition window."""
    known = sequence.num_tokens
    return sequence.ids[max(0, known - sequence.request.sampling.repetition_window) : known]


def _draw(logits: Tensor, recent: Tensor, settings: Settings, u: float) -> int | None:
    try:
        p = distribution(logits, present(recent, len(logits)), settings)
    except ValueError:
        return None
    return int(draw(p, torch.tensor(u, dtype=torch.float64)))


def _uniform(sequence: TokenSequence) -> float:
    request = sequence.request
    position = sequence.num_tokens - len(request.prompt)
    return uniform(request.sampling.seed, request.sample, position)
