"""What a text is generated from, and what comes out of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from carousel.errors import ConfigError
from carousel.generation.config import SamplingConfig
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.limits import check_integer

ENDLESS = 2**62  # tokens: a text that the caller will abort


@dataclass(frozen=True, kw_only=True)
class Request:
    """One text to generate.

    Attributes:
        prompt: Token ids, at least one.
        length: Tokens to draw after the prompt, at most ENDLESS. With 0 the prompt is read, and
            scored if `logprobs` is set.
        sampling: How tokens are drawn.
        sample: Number of the text; texts with the same seed are independent draws.
        logprobs: Report the log-probability of every token but the first, and of this many of the
            likeliest tokens at each position. None: report none.
        boundary: Where sentences end; required if `sampling.candidates` is above 1.
    """

    prompt: Sequence[int]
    length: int
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    sample: int = 0
    logprobs: int | None = None
    boundary: SentenceBoundary | None = None

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ConfigError: If a number is out of range, or `boundary` is missing.
            ValueError: If the prompt is empty.
        """
        if len(self.prompt) == 0:
            raise ValueError("the prompt must hold at least one token")
        check_integer("length", self.length, at_least=0, at_most=ENDLESS)
        check_integer("sample", self.sample, at_least=0, at_most=2**64 - 1)
        if self.logprobs is not None:
            check_integer("logprobs", self.logprobs, at_least=0)
        if self.sampling.candidates > 1 and self.boundary is None:
            raise ConfigError("candidates above 1 need characters, to see where a sentence ends")


class TokenLogprob(NamedTuple):
    """The model's own log-probability of a token, and the likeliest tokens with theirs."""

    log_p: float
    top: list[tuple[int, float]]


class Output(NamedTuple):
    """What a text has gained since its previous output.

    Attributes:
        key: Which text.
        ids: Tokens drawn.
        logprobs: If requested, those of the tokens that were scored: the prompt's from its second
            token on, then the drawn ones.
        is_finished: Whether this is the last output.
        error: Why the text ends early; None unless the logits are not finite.
        num_drawn: Tokens drawn, including those of rejected candidates.
    """

    key: Hashable
    ids: list[int]
    logprobs: list[TokenLogprob]
    is_finished: bool
    error: str | None
    num_drawn: int = 0
