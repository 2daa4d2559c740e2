"""What a client may ask for: a JSON value to a checked request, before any work is begun."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from carousel.errors import ConfigError
from carousel.sampling.config import SamplingConfig, check_integer

MAX_PROMPT = 4000  # characters
MAX_LENGTH = 4000  # characters
MAX_STOP = 4  # strings
MAX_STOP_LENGTH = 100  # characters of each


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One text to write.

    Attributes:
        prompt: The text to continue; an empty one begins a line.
        length: Characters to write, the prompt not counted; None: 500, or as many as the model has
            positions for.
        stop: Strings that end the text before them.
        sampling: How the next character is drawn.
    """

    prompt: str = ""
    length: int | None = None
    stop: Sequence[str] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        """Refuse what is beyond the limits above, naming the field and its value."""
        if not isinstance(self.prompt, str):
            raise ConfigError(f"prompt must be text, got {type(self.prompt).__name__}")
        if len(self.prompt) > MAX_PROMPT:
            raise ConfigError(
                f"prompt must hold at most {MAX_PROMPT} characters, got {len(self.prompt)}"
            )
        if self.length is not None:
            check_integer("length", self.length, at_least=1, at_most=MAX_LENGTH)
        if not (
            isinstance(self.stop, list | tuple)
            and len(self.stop) <= MAX_STOP
            and all(isinstance(s, str) and 0 < len(s) <= MAX_STOP_LENGTH for s in self.stop)
        ):
            raise ConfigError(
                f"stop must be a list of at most {MAX_STOP} strings, "
                f"each of 1 to {MAX_STOP_LENGTH} characters"
            )


SETTINGS = [f.name for f in fields(SamplingConfig)]
OTHERS = [f.name for f in fields(GenerationRequest) if f.name != "sampling"]


def read_request(body: object) -> GenerationRequest:
    """Check a JSON value; the fields of the sampling settings stand beside the others.

    Raises:
        ConfigError: If it is no object, or a field is unknown or has an impossible value.
    """
    if not isinstance(body, dict):
        raise ConfigError(f"the request must be a JSON object, got {type(body).__name__}")
    if unknown := [name for name in body if name not in OTHERS + SETTINGS]:
        raise ConfigError(
            f"no field is called {unknown[0][:40]!r}; there are {', '.join(OTHERS + SETTINGS)}"
        )
    settings = {name: value for name, value in body.items() if name in SETTINGS}
    others = {name: value for name, value in body.items() if name in OTHERS}
    return GenerationRequest(sampling=SamplingConfig(**settings), **others)
