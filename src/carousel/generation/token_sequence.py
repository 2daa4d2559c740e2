"""The tokens of one text while it is generated."""

from collections.abc import Hashable
from copy import copy

import torch
from torch import Tensor

from carousel.generation.request import Output, Request, TokenLogprob

CAPACITY = 4096  # tokens beyond the prompt that fit at first; it grows


class TokenSequence:
    """A prompt, the tokens drawn after it, and how far the model has read them.

    The numbers lie in tensors, because a kernel updates them in place
    (`kernels/cpu/decoding.cpp`).

    Attributes:
        request: What is generated.
        ids: (capacity,) int64, of which the first `num_tokens` are valid.
        progress: (4,) int64: `num_read`, `num_tokens`, `limit` and `has_failed`.
        log_p: (capacity,) log-probability of each token that was scored; empty if not requested.
        top_ids: (capacity, K) the likeliest tokens at each position.
        top_log_p: (capacity, K) their log-probabilities.
    """

    def __init__(self, request: Request, vocab_size: int) -> None:
        self.request = request
        prompt = torch.tensor(request.prompt, dtype=torch.int64)
        limit = len(prompt) + request.length
        self.progress = torch.tensor([0, len(prompt), limit, 0])
        self._reported_ids, self._reported_logprobs = len(prompt), 1
        k = None if request.logprobs is None else min(request.logprobs, vocab_size)
        capacity = min(limit, len(prompt) + CAPACITY)
        self.ids = prompt.new_empty(capacity)
        self.ids[: len(prompt)] = prompt
        self.log_p = torch.empty(0 if k is None else capacity)
        self.top_ids = torch.empty(len(self.log_p), k or 0, dtype=torch.int64)
        self.top_log_p = torch.empty(len(self.log_p), k or 0)

    @property
    def num_read(self) -> int:
        """Tokens that the model has read."""
        return int(self.progress[0])

    @num_read.setter
    def num_read(self, number: int) -> None:
        self.progress[0] = number

    @property
    def num_tokens(self) -> int:
        """Tokens that are known: the prompt, and those drawn."""
        return int(self.progress[1])

    @property
    def limit(self) -> int:
        """Value of `num_tokens` at which the sequence is complete."""
        return int(self.progress[2])

    @limit.setter
    def limit(self, number: int) -> None:
        self.progress[2] = number

    @property
    def has_failed(self) -> bool:
        """Whether the logits after the last token read were not finite."""
        return bool(self.progress[3])

    def fail(self) -> None:
        """Set `has_failed`, which ends the sequence."""
        self.progress[3] = 1

    @property
    def is_scored(self) -> bool:
        """Whether log-probabilities were requested."""
        return self.request.logprobs is not None

    @property
    def steps_left(self) -> int:
        """How many tokens the model has yet to read; it need not read the last one."""
        num_read, _, limit, has_failed = self.progress.tolist()
        is_wanted = self.request.length > 0 or self.is_scored
        return limit - 1 - num_read if is_wanted and not has_failed else 0

    @property
    def steps_until_full(self) -> int:
        """How many of `steps_left` fit into the present capacity."""
        return min(self.steps_left, len(self.ids) - 1 - self.num_read)

    def ensure_capacity(self) -> None:
        """Make room for at least one more token, unless the sequence is complete."""
        if len(self.ids) == self.num_tokens < self.limit:
            self._resize(min(self.limit, 2 * len(self.ids)))

    def draw(self, token: int) -> None:
        """Append a token that was drawn."""
        self.ids[self.num_tokens] = token
        self.progress[1] += 1

    def complete_at(self, num_tokens: int) -> None:
        """Complete the sequence at this many tokens, the last of them not read."""
        self.progress[:3] = torch.tensor([num_tokens - 1, num_tokens, num_tokens])

    def extend(self, ids: Tensor) -> None:
        """Append tokens (n,) drawn elsewhere and raise `limit` to their end."""
        known = self.num_tokens
        end = known + len(ids)
        if len(self.ids) < end:
            self._resize(max(end, 2 * len(self.ids)))
        self.ids[known:end] = ids
        self.progress[1:3] = end

    def fork(self, request: Request, capacity: int) -> "TokenSequence":
        """Return a sequence of another request that begins with these tokens, scored.

        Args:
            request: The other request, with the same prompt.
            capacity: Tokens that fit into it; `limit` stays as it is here.
        """
        known = self.num_tokens
        other = copy(self)
        other.request = request
        other.progress = self.progress.clone()
        other.ids = _resized(self.ids[:known], capacity)
        other.log_p = _resized(self.log_p[:known], capacity)
        other.top_ids = torch.empty(capacity, 0, dtype=torch.int64)
        other.top_log_p = torch.empty(capacity, 0)
        return other

    def output(self, key: Hashable) -> Output:
        """Return what is new since the last call."""
        num_read, known, _, has_failed = self.progress.tolist()
        # A token that is scored is reported together with its log-probability.
        end = max(self._reported_ids, min(known, num_read + 1) if self.is_scored else known)
        ids = self.ids[self._reported_ids : end].tolist()
        self._reported_ids = end
        logprobs = []
        if self.is_scored:
            new = slice(self._reported_logprobs, num_read + 1)
            rows = zip(self.top_ids[new].tolist(), self.top_log_p[new].tolist(), strict=True)
            top = [list(zip(*row, strict=True)) for row in rows]
            logprobs = list(map(TokenLogprob, self.log_p[new].tolist(), top))
            self._reported_logprobs = max(self._reported_logprobs, num_read + 1)
        error = "NaN or infinity among the logits" if has_failed else None
        return Output(key, ids, logprobs, self.steps_left == 0, error)

    def _resize(self, capacity: int) -> None:
        self.ids = _resized(self.ids, capacity)
        if self.is_scored:
            self.log_p = _resized(self.log_p, capacity)
            self.top_ids = _resized(self.top_ids, capacity)
            self.top_log_p = _resized(self.top_log_p, capacity)


def _resized(tensor: Tensor, capacity: int) -> Tensor:
    longer = tensor.new_empty(capacity, *tensor.shape[1:])
    longer[: len(tensor)] = tensor
    return longer
