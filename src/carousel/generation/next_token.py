"""The next id of each of some texts, from their logits: by the kernel, or by ops/sampling.py."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from carousel.generation.config import SamplingConfig
from carousel.generation.request import Draft
from carousel.kernels import decoding
from carousel.kernels.dispatch import choose_kernel
from carousel.ops.sampling import Settings, distribution, draw, present, uniform


def draw_next(drafts: Sequence[Draft], logits: Float[Tensor, "M V"]) -> list[int | None]:
    """Return what is drawn after all ids that stand; None where the logits are no numbers."""
    draws = [float(_uniform(draft)) for draft in drafts]
    if drafts and choose_kernel(lambda: decoding.unsupported_logits(logits)):
        counts = [torch.bincount(recent(draft), minlength=logits.shape[1]) for draft in drafts]
        stages = [decoding.stage_row(as_settings(draft.task.sampling)) for draft in drafts]
        ids, _ = decoding.choose(
            logits.contiguous(),
            torch.stack(counts).int(),
            torch.tensor(stages, dtype=torch.float64),
            torch.tensor(draws, dtype=torch.float64),
        )
        return [None if token < 0 else token for token in ids.tolist()]
    return [
        _draw(z, recent(draft), as_settings(draft.task.sampling), u)
        for draft, z, u in zip(drafts, logits, draws, strict=True)
    ]


def as_settings(config: SamplingConfig) -> Settings:
    """Return what the stages are told."""
    return Settings(
        repetition_penalty=config.repetition_penalty,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
    )


def recent(draft: Draft) -> Tensor:
    """Return the ids in the repetition window."""
    known = int(draft.place[1])
    return draft.ids[max(0, known - draft.task.sampling.repetition_window) : known]


def _draw(logits: Tensor, recent: Tensor, settings: Settings, u: float) -> int | None:
    try:
        p = distribution(logits, present(recent, len(logits)), settings)
    except ValueError:
        return None
    return int(draw(p, torch.tensor(u, dtype=torch.float64)))


def _uniform(draft: Draft) -> float:
    task = draft.task
    return uniform(task.sampling.seed, task.sample, int(draft.place[1]) - len(task.prompt))
