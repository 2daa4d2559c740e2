"""Writing with any model, one character of every text at a time, by its own forward.

A row of a matrix product may differ in its last bits with the number of rows. So a batch always
has the same number of them, whoever writes in it, and rows that nobody uses are computed too; and a
prompt is read alone, in pieces of PIECE from its beginning. Then a text is a function of its task;
and, in last bits, of the number of torch's threads, which share out such a product.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from carousel.generation.next_token import draw_next
from carousel.generation.request import Draft
from carousel.models.base import LanguageModel, State
from carousel.ops.sampling import log_probabilities

PIECE = 256  # characters of a prompt read at once: bounds the memory it takes


class Plain:
    """The texts of one model, in batches of so many rows."""

    def __init__(self, model: LanguageModel, rows: int) -> None:
        self._model = model
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._rows = rows if rows > 1 and is_one_row_as_another(model, rows) else 1
        self._reading: dict[Draft, State | None] = {}
        # How many ids were read, and the state then.
        self._kept: dict[Draft, tuple[int, State | None]] = {}
        self._batches: list[_Batch] = []

    def join(self, draft: Draft) -> None:
        """Take up a text."""
        self._reading[draft] = None

    def fork(self, draft: Draft, other: Draft) -> None:
        """Take up a text that has come as far as another."""
        self._reading[other] = self._state_of(draft)

    def keep(self, draft: Draft) -> None:
        """Remember where a text stands."""
        self._kept[draft] = int(draft.place[0]), self._state_of(draft)

    def go_back(self, draft: Draft, other: Draft) -> None:
        """Let another text stand where this one was kept, if it was."""
        if (kept := self._kept.get(draft)) is not None:
            other.place[0], self._reading[other] = kept

    def leave(self, draft: Draft) -> None:
        """Forget a text."""
        self._reading.pop(draft, None)
        self._kept.pop(draft, None)
        for batch in self._batches:
            batch.leave(draft)
        self._batches = [batch for batch in self._batches if any(batch.drafts)]

    def _state_of(self, draft: Draft) -> State | None:
        if draft in self._reading:
            return self._reading[draft]
        (batch,) = (batch for batch in self._batches if draft in batch.drafts)
        return batch.state_of(draft)

    @torch.inference_mode()
    def write(self, drafts: Sequence[Draft], seconds: float, interrupted: Tensor) -> None:
        """Go on with these texts for about so long, until one of them ends or needs room."""
        end = time.monotonic() + seconds
        wanted = set(drafts)
        self._set_aside(wanted)
        while True:
            read = 0
            for draft in [d for d in self._reading if d in wanted and d.steps_left]:
                read += self._read(draft)
                if read >= PIECE and (time.monotonic() >= end or interrupted):
                    break
            for batch in self._batches:
                batch.write()
            if time.monotonic() >= end or interrupted or not all(d.steps_ahead for d in drafts):
                return

    def _set_aside(self, wanted: set[Draft]) -> None:
        """Take texts that are not wanted now out of their batches, with their states."""
        for batch in self._batches:
            for draft in list(batch.drafts):
                if draft is not None and draft.steps_left and draft not in wanted:
                    self._reading[draft] = batch.state_of(draft)
                    batch.leave(draft)

    def _read(self, draft: Draft) -> int:
        """Read a piece of what stands, but for its last id; then a text to draw joins a batch.

        Returns:
            How many ids were read.
        """
        read, last = int(draft.place[0]), int(draft.place[1]) - 1
        state = self._reading.pop(draft)
        piece = draft.ids[read : min(read + PIECE, last)]
        if len(piece):
            logits, state = self._model(piece[None].to(self._device), state)
            if draft.is_scored and not score(draft, read + 1, logits[0].cpu()):
                return len(piece)
            draft.place[0] += len(piece)
        if int(draft.place[0]) < last or not draft.steps_left:
            self._reading[draft] = state  # behind those that wait
        else:
            batch = next((batch for batch in self._batches if None in batch.drafts), None)
            if batch is None:
                batch = _Batch(self._model, self._rows, self._device)
                self._batches.append(batch)
            batch.join(draft, state or self._model.initial_state(1))
        return len(piece)


class _Batch:
    """Rows of a model's state, each for a text or free."""

    def __init__(self, model: LanguageModel, rows: int, device: torch.device) -> None:
        self.drafts: list[Draft | None] = [None] * rows
        self._model = model
        self._device = device
        self._state = model.initial_state(rows)

    def join(self, draft: Draft, state: State) -> None:
        row = self.drafts.index(None)
        self.drafts[row] = draft
        self._set_states([row], state)

    def state_of(self, draft: Draft) -> State:
        row = self.drafts.index(draft)
        return tuple(part[:, row : row + 1].clone() for part in self._state)

    def leave(self, draft: Draft) -> None:
        if draft in self.drafts:
            self.drafts[self.drafts.index(draft)] = None

    def write(self) -> None:
        """Read one id of every text, and draw the next."""
        writing = {row: d for row, d in enumerate(self.drafts) if d and d.steps_left}
        free = [row for row in range(len(self.drafts)) if row not in writing]
        if free and self._model.longest_stream is not None:  # nobody's positions must not end
            self._set_states(free, self._model.initial_state(len(free)))
        tokens = torch.zeros(len(self.drafts), 1, dtype=torch.int64)
        for row, draft in writing.items():
            tokens[row] = draft.ids[draft.place[0]]
        logits, self._state = self._model(tokens.to(self._device), self._state)
        _go_on(list(writing.values()), logits[list(writing), 0].cpu())

    def _set_states(self, rows: Sequence[int], states: State) -> None:
        for part, new in zip(self._state, states, strict=True):
            part[:, rows] = new


def _go_on(drafts: Sequence[Draft], logits: Tensor) -> None:
    """Draw the next id of each text by its logits (M, V), where the task asks for one."""
    for draft, token, z in zip(drafts, draw_next(drafts, logits), logits, strict=True):
        if token is None:
            draft.place[3] = 1
            continue
        read, known, end, _ = draft.place.tolist()
        draft.place[0] = read + 1
        if known < end:
            draft.ids[known] = token
            draft.place[1] += 1
        if draft.is_scored:
            score(draft, read + 1, z[None])


def score(draft: Draft, first: int, logits: Tensor) -> bool:
    """Note the chances of the ids from a place on, by the logits there (T, V), if they are."""
    places = slice(first, first + len(logits))
    try:
        log_p = log_probabilities(logits)
    except ValueError:
        draft.place[3] = 1
        return False
    draft.log_p[places] = log_p.gather(1, draft.ids[places, None])[:, 0]
    order = log_p.argsort(dim=1, descending=True, stable=True)[:, : draft.best.shape[1]]
    draft.best[places] = order
    draft.best_log_p[places] = log_p.gather(1, order)
    return True


@torch.inference_mode()
def is_one_row_as_another(model: LanguageModel, rows: int) -> bool:
    """Tell whether equal rows of a batch give equal bits, wherever they stand, for some steps."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    state = None
    for token in range(min(8, model.vocab_size)):
        tokens = torch.full((rows, 1), token, device=device)
        logits, state = model(tokens, state)
        if any(not bool((part == part[:, :1]).all()) for part in (logits.transpose(0, 1), *state)):
            return False
    return True
