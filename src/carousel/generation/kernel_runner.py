"""Run recurrent models by a kernel, many tokens of every text in one call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from carousel.generation.next_token import recent_ids, sampler_settings
from carousel.generation.token_sequence import TokenSequence
from carousel.kernels import decoding
from carousel.kernels.dispatch import choose_kernel
from carousel.models.base import LanguageModel
from carousel.models.decoder_weights import decoder_weights

MAX_STEPS = 4096  # of one call: the first call must end soon, though its speed is not known
SHARED_STEPS = 16  # steps that a call may take although one text ends before: the others go on


@dataclass(eq=False)
class _KernelState:
    """What the kernel needs of a text beside its token sequence."""

    counts: Tensor  # (V,)
    state: Tensor
    numbers: list[int]
    settings: list[float]
    saved: tuple[int, Tensor] | None = None  # num_read, and the state then


class KernelRunner:
    """The texts of one model. Their numbers do not depend on the size of the batch."""

    def __init__(self, decoder: Any, vocab_size: int) -> None:
        self._decoder = decoder
        self._vocab_size = vocab_size
        self._states: dict[TokenSequence, _KernelState] = {}
        self._seconds_per_step, self._batch_size = 1e-3, 1  # of the last call

    def add(self, sequence: TokenSequence) -> None:
        """Add a sequence of which nothing is read."""
        self._add(sequence, torch.zeros(decoding.state_size(self._decoder)))

    def fork(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Add another sequence with a copy of this one's state."""
        self._add(other, self._states[sequence].state.clone())

    def save_state(self, sequence: TokenSequence) -> None:
        """Keep the state of a sequence."""
        own = self._states[sequence]
        own.saved = sequence.num_read, own.state.clone()

    def restore_state(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Give another sequence the state saved here, if there is one."""
        if (saved := self._states[sequence].saved) is not None:
            other.num_read, self._states[other].state = saved

    def remove(self, sequence: TokenSequence) -> None:
        """Remove a sequence."""
        self._states.pop(sequence, None)

    def run(self, sequences: Sequence[TokenSequence], seconds: float, interrupted: Tensor) -> None:
        """Run for about this long, until one sequence is complete or full, or until interrupted."""
        states = [self._states[sequence] for sequence in sequences]
        batch = decoding.DecodeBatch(
            [sequence.ids for sequence in sequences],
            [sequence.progress for sequence in sequences],
            [sequence.log_p for sequence in sequences],
            [sequence.top_ids for sequence in sequences],
            [sequence.top_log_p for sequence in sequences],
            [own.counts for own in states],
            [own.state for own in states],
            torch.tensor([own.numbers for own in states]),
            torch.tensor([own.settings for own in states], dtype=torch.float64),
        )
        start = time.monotonic()
        end = start + seconds
        while all(left := [sequence.steps_until_full for sequence in sequences]):
            possible = max(min(left), min(max(left), SHARED_STEPS))
            expected = self._seconds_per_step * max(1, len(sequences) / self._batch_size)
            steps = max(1, int(min((end - start) / expected, possible, MAX_STEPS)))
            decoding.decode(self._decoder, batch, steps, interrupted)
            now = time.monotonic()
            if interrupted:  # it may have been fewer steps
                return
            self._seconds_per_step = max(1e-7, (now - start) / steps)
            self._batch_size = len(sequences)
            if now >= end:
                return
            start = now

    def _add(self, sequence: TokenSequence, state: Tensor) -> None:
        request = sequence.request
        config = request.sampling
        counts = torch.bincount(recent_ids(sequence), minlength=self._vocab_size).int()
        seed, sample = _as_int64(config.seed), _as_int64(request.sample)
        self._states[sequence] = _KernelState(
            counts,
            state,
            [len(request.prompt), config.repetition_window, seed, sample],
            decoding.settings_row(sampler_settings(config)),
        )


def kernel_runner(model: LanguageModel, compute_dtype: torch.dtype) -> KernelRunner | None:
    """Return the kernel's runner of a model; None if there is no kernel for it.

    Falls back to float32 if the processor lacks `compute_dtype`.
    """
    weights = decoder_weights(model)
    if weights is None:
        return None
    for dtype in dict.fromkeys((compute_dtype, torch.float32)):
        if choose_kernel(partial(decoding.unsupported_reason, weights, dtype)):
            return KernelRunner(decoding.make_decoder(weights, dtype), model.vocab_size)
    return None


def _as_int64(word: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit number."""
    return word - 2**64 if word >= 2**63 else word
