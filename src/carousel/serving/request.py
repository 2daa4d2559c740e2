"""What a client may ask for: a JSON object to a checked request, before any work is begun."""

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
        length: Characters to write, the prompt not counted.
        stop: Strings that end the text before them.
        sampling: How the next character is drawn.
    """

    prompt: str = ""
    length: int = 500
    stop: tuple[str, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        """Refuse what is beyond the limits above, naming the field and its value."""
        if not isinstance(self.prompt, str):
            raise ConfigError(f"prompt must be text, got {type(self.prompt).__name__}")
        if len(self.prompt) > MAX_PROMPT:
            raise ConfigError(
                f"prompt must hold at most {MAX_PROMPT} characters, got {len(self.prompt)}"
            )
        check_integer("length", self.length, at_least=1, at_most=MAX_LENGTH)
        if len(self.stop) > MAX_STOP or not all(
            isinstance(s, str) and 0 < len(s) <= MAX_STOP_LENGTH for s in self.stop
        ):
            raise ConfigError(
                f"stop must be at most {MAX_STOP} strings of 1 to {MAX_STOP_LENGTH} characters"
            )


def read_request(body: object) -> GenerationRequest:
    """Check a JSON value of any shape; the fields of `sampling` stand beside the others.

    Raises:
        ConfigError: If it is no object, or a field is unknown or has an impossible value.
    """
    if not isinstance(body, dict):
        raise ConfigError(f"the request must be a JSON object, got {type(body).__name__}")
    settings = {name: body[name] for name in _names(SamplingConfig) if name in body}
    others = {name: value for name, value in body.items() if name not in settings}
    known = [*(name for name in _names(GenerationRequest) if name != "sampling")]
    if unknown := [name for name in others if name not in known]:
        known += _names(SamplingConfig)
        raise ConfigError(f"no field is called {unknown[0][:40]!r}; there are {', '.join(known)}")
    if isinstance(stop := others.get("stop"), list):
        others["stop"] = tuple(stop)
    elif "stop" in others:
        raise ConfigError(f"stop must be a list of strings, got {type(stop).__name__}")
    return GenerationRequest(sampling=SamplingConfig(**settings), **others)


def _names(cls: type) -> list[str]:
    return [f.name for f in fields(cls)]
