"""Run any model by its own forward, one token of every text at a time.

The last bits of a row of a matrix product may depend on the number of rows. So a batch always has
the same number of them, unused rows included, and a prompt is read alone, in pieces of CHUNK from
its beginning. That makes a text a function of its request, and, in its last bits, of the number of
torch's threads.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from carousel.generation.next_token import draw_next
from carousel.generation.token_sequence import TokenSequence
from carousel.models.base import LanguageModel, State
from carousel.ops.sampling import log_probabilities

CHUNK = 256  # tokens of a prompt read at once: bounds the memory


class TorchRunner:
    """The texts of one model, in batches of `rows`."""

    def __init__(self, model: LanguageModel, rows: int) -> None:
        self._model = model
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._rows = rows if rows > 1 and rows_are_identical(model, rows) else 1
        self._waiting: dict[TokenSequence, State | None] = {}  # in no batch, with their states
        self._saved: dict[TokenSequence, tuple[int, State | None]] = {}  # num_read, and the state
        self._batches: list[_Batch] = []

    def add(self, sequence: TokenSequence) -> None:
        """Add a sequence of which nothing is read."""
        self._waiting[sequence] = None

    def fork(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Add another sequence with a copy of this one's state."""
        self._waiting[other] = self._state_of(sequence)

    def save_state(self, sequence: TokenSequence) -> None:
        """Keep the state of a sequence."""
        self._saved[sequence] = sequence.num_read, self._state_of(sequence)

    def restore_state(self, sequence: TokenSequence, other: TokenSequence) -> None:
        """Give another sequence the state saved here, if there is one."""
        if (saved := self._saved.get(sequence)) is not None:
            other.num_read, self._waiting[other] = saved

    def remove(self, sequence: TokenSequence) -> None:
        """Remove a sequence."""
        self._waiting.pop(sequence, None)
        self._saved.pop(sequence, None)
        for batch in self._batches:
            batch.remove(sequence)
        self._batches = [batch for batch in self._batches if any(batch.sequences)]

    @torch.inference_mode()
    def run(self, sequences: Sequence[TokenSequence], seconds: float, interrupted: Tensor) -> None:
        """Run for about this long, until one sequence is complete or full, or until interrupted."""
        end = time.monotonic() + seconds
        wanted = set(sequences)
        self._evict_others(wanted)
        while True:
            num_read = 0
            for sequence in [s for s in self._waiting if s in wanted and s.steps_left]:
                num_read += self._read_chunk(sequence)
                if num_read >= CHUNK and (time.monotonic() >= end or interrupted):
                    break
            for batch in self._batches:
                batch.step()
            is_late = time.monotonic() >= end or interrupted
            if is_late or not all(s.steps_until_full for s in sequences):
                return

    def _state_of(self, sequence: TokenSequence) -> State | None:
        if sequence in self._waiting:
            return self._waiting[sequence]
        (batch,) = (batch for batch in self._batches if sequence in batch.sequences)
        return batch.state_of(sequence)

    def _evict_others(self, wanted: set[TokenSequence]) -> None:
        """Take sequences that are not to run now out of their batches, with their states."""
        for batch in self._batches:
            for sequence in list(batch.sequences):
                if sequence is not None and sequence.steps_left and sequence not in wanted:
                    self._waiting[sequence] = batch.state_of(sequence)
                    batch.remove(sequence)

    def _read_chunk(self, sequence: TokenSequence) -> int:
        """Read a chunk of the known tokens but the last; then move the sequence to a batch.

        Returns:
            How many tokens were read.
        """
        num_read, last = sequence.num_read, sequence.num_tokens - 1
        state = self._waiting.pop(sequence)
        chunk = sequence.ids[num_read : min(num_read + CHUNK, last)]
        if len(chunk):
            logits, state = self._model(chunk[None].to(self._device), state)
            if sequence.is_scored and not score(sequence, num_read + 1, logits[0].cpu()):
                return len(chunk)
            sequence.num_read += len(chunk)
        if sequence.num_read < last or not sequence.steps_left:
            self._waiting[sequence] = state  # behind the others
        else:
            batch = next((batch for batch in self._batches if None in batch.sequences), None)
            if batch is None:
                batch = _Batch(self._model, self._rows, self._device)
                self._batches.append(batch)
            batch.add(sequence, state or self._model.initial_state(1))
        return len(chunk)


class _Batch:
    """Rows of a model's state, each for a sequence or free."""

    def __init__(self, model: LanguageModel, rows: int, device: torch.device) -> None:
        self.sequences: list[TokenSequence | None] = [None] * rows
        self._model = model
        self._device = device
        self._state = model.initial_state(rows)

    def add(self, sequence: TokenSequence, state: State) -> None:
        row = self.sequences.index(None)
        self.sequences[row] = sequence
        self._set_states([row], state)

    def state_of(self, sequence: TokenSequence) -> State:
        row = self.sequences.index(sequence)
        return tuple(part[:, row : row + 1].clone() for part in self._state)

    def remove(self, sequence: TokenSequence) -> None:
        if sequence in self.sequences:
            self.sequences[self.sequences.index(sequence)] = None

    def step(self) -> None:
        """Read one token of every sequence, and draw the next."""
        unfinished = {row: s for row, s in enumerate(self.sequences) if s and s.steps_left}
        free = [row for row in range(len(self.sequences)) if row not in unfinished]
        if free and self._model.max_length is not None:  # unused rows must not run out of positions
            self._set_states(free, self._model.initial_state(len(free)))
        tokens = torch.zeros(len(self.sequences), 1, dtype=torch.int64)
        for row, sequence in unfinished.items():
            tokens[row] = sequence.ids[sequence.num_read]
        logits, self._state = self._model(tokens.to(self._device), self._state)
        _draw_all(list(unfinished.values()), logits[list(unfinished), 0].cpu())

    def _set_states(self, rows: Sequence[int], states: State) -> None:
        for part, new in zip(self._state, states, strict=True):
            part[:, rows] = new


def _draw_all(sequences: Sequence[TokenSequence], logits: Tensor) -> None:
    """Draw the next token of each sequence from its logits (M, V), and score what is requested."""
    for sequence, token, z in zip(sequences, draw_next(sequences, logits), logits, strict=True):
        if token is None:
            sequence.fail()
            continue
        sequence.num_read += 1
        if sequence.num_tokens < sequence.limit:
            sequence.draw(token)
        if sequence.is_scored:
            score(sequence, sequence.num_read, z[None])


def score(sequence: TokenSequence, first: int, logits: Tensor) -> bool:
    """Set log-probabilities from position `first` on by logits (T, V); False if not finite."""
    positions = slice(first, first + len(logits))
    try:
        log_p = log_probabilities(logits)
    except ValueError:
        sequence.fail()
        return False
    sequence.log_p[positions] = log_p.gather(1, sequence.ids[positions, None])[:, 0]
    order = log_p.argsort(dim=1, descending=True, stable=True)[:, : sequence.top_ids.shape[1]]
    sequence.top_ids[positions] = order
    sequence.top_log_p[positions] = log_p.gather(1, order)
    return True


@torch.inference_mode()
def rows_are_identical(model: LanguageModel, rows: int) -> bool:
    """Return whether equal rows of a batch give equal bits at every row, for some steps."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    state = None
    for token in range(min(8, model.vocab_size)):
        tokens = torch.full((rows, 1), token, device=device)
        logits, state = model(tokens, state)
        if any(not bool((part == part[:, :1]).all()) for part in (logits.transpose(0, 1), *state)):
            return False
    return True
