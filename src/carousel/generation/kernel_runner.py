"""Writing with a kernel: recurrent models, many characters of every text at a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from carousel.generation.next_token import as_settings, recent
from carousel.generation.request import Draft
from carousel.kernels import decoding
from carousel.kernels.dispatch import choose_kernel
from carousel.models.base import LanguageModel
from carousel.models.decoder_weights import stack_of

MOST_STEPS = 4096  # of one call, so that the first ones, whose time is not known, end soon
TOGETHER = 16  # steps that a call may take although a text ends before: the others go on


@dataclass(eq=False)
class _Hand:
    """What the kernel keeps of a text beside its draft."""

    counts: Tensor  # (V,)
    state: Tensor
    numbers: list[int]
    stages: list[float]
    kept: tuple[int, Tensor] | None = None  # ids that were read, and the state then


class Compiled:
    """The texts of one model. Their numbers do not depend on how many there are."""

    def __init__(self, machine: Any, vocab_size: int) -> None:
        self._machine = machine
        self._vocab_size = vocab_size
        self._hands: dict[Draft, _Hand] = {}
        self._seconds_per_step, self._texts = 1e-3, 1  # of the last call

    def join(self, draft: Draft) -> None:
        """Take up a text."""
        self._take_up(draft, torch.zeros(decoding.state_size(self._machine)))

    def fork(self, draft: Draft, other: Draft) -> None:
        """Take up a text that has come as far as another."""
        self._take_up(other, self._hands[draft].state.clone())

    def keep(self, draft: Draft) -> None:
        """Remember where a text stands."""
        hand = self._hands[draft]
        hand.kept = int(draft.place[0]), hand.state.clone()

    def go_back(self, draft: Draft, other: Draft) -> None:
        """Let another text stand where this one was kept, if it was."""
        if (kept := self._hands[draft].kept) is not None:
            other.place[0], self._hands[other].state = kept

    def _take_up(self, draft: Draft, state: Tensor) -> None:
        task = draft.task
        config = task.sampling
        counts = torch.bincount(recent(draft), minlength=self._vocab_size).int()
        self._hands[draft] = _Hand(
            counts,
            state,
            [
                len(task.prompt),
                config.repetition_window,
                _signed(config.seed),
                _signed(task.sample),
            ],
            decoding.stage_row(as_settings(config)),
        )

    def leave(self, draft: Draft) -> None:
        """Forget a text."""
        self._hands.pop(draft, None)

    def write(self, drafts: Sequence[Draft], seconds: float, interrupted: Tensor) -> None:
        """Go on with all texts for about so long, until one of them ends or needs room."""
        hands = [self._hands[draft] for draft in drafts]
        page = decoding.DecodeBatch(
            [draft.ids for draft in drafts],
            [draft.place for draft in drafts],
            [draft.log_p for draft in drafts],
            [draft.best for draft in drafts],
            [draft.best_log_p for draft in drafts],
            [hand.counts for hand in hands],
            [hand.state for hand in hands],
            torch.tensor([hand.numbers for hand in hands]),
            torch.tensor([hand.stages for hand in hands], dtype=torch.float64),
        )
        start = time.monotonic()
        end = start + seconds
        while all(ahead := [draft.steps_ahead for draft in drafts]):
            possible = max(min(ahead), min(max(ahead), TOGETHER))
            expected = self._seconds_per_step * max(1, len(drafts) / self._texts)
            steps = max(1, int(min((end - start) / expected, possible, MOST_STEPS)))
            decoding.decode(self._machine, page, steps, interrupted)
            now = time.monotonic()
            if interrupted:  # it may have been fewer steps
                return
            self._seconds_per_step, self._texts = max(1e-7, (now - start) / steps), len(drafts)
            if now >= end:
                return
            start = now


def compiled(model: LanguageModel, product: torch.dtype) -> Compiled | None:
    """Return the kernel's way to write with a model; None where there is none.

    Products that the processor lacks give way to those in float32.
    """
    stack = stack_of(model)
    if stack is None:
        return None
    for kind in dict.fromkeys((product, torch.float32)):
        if choose_kernel(partial(decoding.unsupported_reason, stack, kind)):
            return Compiled(decoding.make_decoder(stack, kind), model.vocab_size)
    return None


def _signed(word: int) -> int:
    """Return the int64 of the same 64 bits."""
    return word - 2**64 if word >= 2**63 else word
