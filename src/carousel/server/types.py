"""Types shared by the web app and the process that holds a model; imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from carousel.errors import CarouselError
from carousel.generation.config import SamplingConfig
from carousel.generation.stop import FinishReason


class ModelInfo(NamedTuple):
    """A model, as the API describes it.

    Attributes:
        name: Its name.
        characters: Its vocabulary, by id.
        max_length: Characters that it has positions for, prompt and text together; None if there
            is no limit.
        opening: A suitable prompt; may be empty.
        created: When it was made, in seconds since 1970.
        fingerprint: A hash of its weights and settings.
    """

    name: str
    characters: tuple[str, ...]
    max_length: int | None
    opening: str
    created: int
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One text to generate.

    Attributes:
        prompt: Characters that the model knows; an empty one begins a line.
        length: Characters to generate after the prompt; with 0 the prompt is only read.
        stop: The text ends before the first of these strings.
        sampling: How the next character is drawn.
        sample: Number of the text, 0, 1, …, among those with the same seed.
        logprobs: Report the log-probability of each character, and of this many of the likeliest
            ones at its position; None: report none.
        prompt_logprobs: With `logprobs`, report those of the prompt too, from its second character
            on.
    """

    prompt: str
    length: int
    stop: Sequence[str] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    sample: int = 0
    logprobs: int | None = None
    prompt_logprobs: bool = False


class CharacterLogprob(NamedTuple):
    """The log-probability of a character under the model itself, before any stage of sampling.

    Attributes:
        log_p: That of the character, in nats.
        top: The likeliest characters at its position with theirs, the likeliest first.
    """

    log_p: float
    top: list[tuple[str, float]]


class Chunk(NamedTuple):
    """The next part of a text.

    Attributes:
        text: Characters; may be empty.
        logprobs: If requested, one for each character of `text`, preceded by those of the prompt if
            `prompt_logprobs`.
        finish_reason: Why the text ends with this chunk; None if it goes on.
        num_drawn: Characters drawn since the last chunk, including those of rejected candidates.
    """

    text: str
    logprobs: list[CharacterLogprob]
    finish_reason: FinishReason | None
    num_drawn: int = 0


class Busy(CarouselError):
    """The server is full; the client may try again in a moment."""


class Overloaded(CarouselError):
    """A text was ended because its client had more than its share, and another client had none."""


class Unavailable(CarouselError):
    """The worker is not there; a new one is being started."""


class TextStream(Protocol):
    """A text being generated; read by one thread."""

    def next(self, timeout: float) -> Chunk | None:
        """Return the next chunk, or None if none came within `timeout` seconds.

        Raises:
            CarouselError: If there will be no more, with the reason; Unavailable if the worker
                died.
        """

    def cancel(self, on_drawn: Callable[[int], None] = lambda drawn: None) -> None:
        """Abort the text, if it is not finished. May be called again.

        Args:
            on_drawn: Called with the number of characters drawn since the last chunk; perhaps
                later, more than once, and by another thread.
        """


class EngineClient(Protocol):
    """Access to one model, which generates many texts at the same time; thread-safe."""

    @property
    def model_info(self) -> ModelInfo:
        """The model."""

    def unavailable_reason(self) -> str | None:
        """Return why it cannot generate now, by the latest probe of the model; None if it can."""

    def submit(self, jobs: Sequence[Job], client: str = "") -> list[TextStream]:
        """Begin these texts, all or none.

        Args:
            jobs: The texts.
            client: Who requests them; each client has a share.

        Raises:
            Busy: If there is no room for all of them.
            Unavailable: If there is no worker.
        """
