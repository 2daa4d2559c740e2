"""What the web app and whoever writes for it say to each other. No torch: models are elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from carousel.errors import CarouselError
from carousel.generation.config import SamplingConfig
from carousel.generation.stop import Finish


class Card(NamedTuple):
    """What is known of a model without asking it.

    Attributes:
        name: What it is called.
        characters: Its vocabulary, by id.
        longest_stream: Characters for which it has positions, prompt and text together; None:
            there is no end.
        opening: The words to give to it at first; perhaps none.
        created: When it was made, in seconds since 1970.
        fingerprint: A hash of its weights and settings.
    """

    name: str
    characters: tuple[str, ...]
    longest_stream: int | None
    opening: str
    created: int
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One text to write.

    Attributes:
        prompt: Characters that the model knows; an empty one begins a line.
        length: Characters to write, the prompt not counted; 0: the prompt is read, no more.
        stop: Strings that end the text before them.
        sampling: How the next character is drawn.
        sample: Number of the text, 0, 1, …, among those of the same seed.
        alternatives: How many of the likeliest characters are wanted at each place, with the
            probability of the one that stands there; None: not even that.
        is_scored: With alternatives: those of the prompt too, the first character's aside.
    """

    prompt: str
    length: int
    stop: Sequence[str] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    sample: int = 0
    alternatives: int | None = None
    is_scored: bool = False


class Chance(NamedTuple):
    """How likely a character was under the model itself, before any stage of sampling.

    Attributes:
        log_p: Of the character that stands there, in nats.
        alternatives: The likeliest characters there and theirs, the likeliest first.
    """

    log_p: float
    alternatives: list[tuple[str, float]]


class Piece(NamedTuple):
    """The next part of a text.

    Attributes:
        text: Characters; perhaps none.
        chances: Where asked for, those of `text`, character by character; before the first of
            these come, if is_scored, those of the prompt from its second character on.
        finish: Why the text ends with this piece; None: it goes on.
        drawn: Characters drawn for it since the last piece, those of all candidates included.
    """

    text: str
    chances: list[Chance]
    finish: Finish | None
    drawn: int = 0


class Busy(CarouselError):
    """There is no room for another text now; asking again in a moment may find some."""


class Overloaded(CarouselError):
    """A text was ended, because its client had more than its share and another has none."""


class Unavailable(CarouselError):
    """Who was to write, or was writing, is not there; a new one is on its way."""


class Text(Protocol):
    """A text being written; read by one thread."""

    def next(self, timeout: float) -> Piece | None:
        """Return the next piece, or None if none came within so many seconds.

        Raises:
            CarouselError: If there will be no more, with the reason; Unavailable if the writer
                died.
        """

    def cancel(self, on_drawn: Callable[[int], None] = lambda drawn: None) -> None:
        """Stop the work, if it is not over; at once, and as often as one likes.

        Args:
            on_drawn: Called with numbers of characters that were drawn since the last piece;
                perhaps later, and by another thread.
        """


class Writer(Protocol):
    """Who writes the texts of one model, for many at the same time; called by any thread."""

    @property
    def card(self) -> Card:
        """The model."""

    def obstacle(self) -> str | None:
        """Say why it cannot write now, by the last real step of the model; None if it can."""

    def write(self, jobs: Sequence[Job], client: str = "") -> list[Text]:
        """Begin these texts, all or none.

        Args:
            jobs: The texts.
            client: Who asks for them; each client has a share.

        Raises:
            Busy: If there is no room for all of them.
            Unavailable: If there is nobody to write them.
        """
