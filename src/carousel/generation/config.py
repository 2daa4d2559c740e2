"""Settings of sampling; imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from carousel.errors import ConfigError

Precision = Literal["float32", "bf16"]  # of matrix products; bf16 if the processor has it


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the next character is drawn. Values are checked on construction.

    Attributes:
        temperature: Divides the logits. Below 1 favours likely characters, above 1 unlikely ones;
            0 always takes the likeliest.
        top_k: Draw from this many of the likeliest characters only; None draws from all.
        top_p: Draw from the smallest set of likeliest characters that holds this probability; 1 is
            off.
        min_p: Exclude characters less likely than this fraction of the likeliest one; 0 is off.
        repetition_penalty: Multiplies the log-probability of recent characters, so that values
            above 1 make them rarer; 1 is off.
        repetition_window: Characters, prompt included, that count as recent.
        candidates: Samples of each sentence, which share its first two characters. The one with the
            highest mean log-probability is kept, among those that repeat no earlier text. 1 is
            off.
        seed: The same seed, settings, prompt and model give the same text.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = 128
    candidates: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: If a field has another type or is out of range; the message names it.
        """
        _check_number("temperature", self.temperature, at_least=0)
        if self.top_k is not None:
            check_integer("top_k", self.top_k, at_least=1)
        _check_number("top_p", self.top_p, above=0, at_most=1)
        _check_number("min_p", self.min_p, at_least=0, at_most=1)
        _check_number("repetition_penalty", self.repetition_penalty, above=0, at_most=100)
        check_integer("repetition_window", self.repetition_window, at_least=1, at_most=1_000_000)
        check_integer("candidates", self.candidates, at_least=1, at_most=64)
        check_integer("seed", self.seed, at_least=0, at_most=2**64 - 1)


def check_integer(name: str, value: object, *, at_least: int, at_most: float = math.inf) -> None:
    """Raise ConfigError unless value is an int (and no bool) in [at_least, at_most]."""
    if type(value) is not int or not at_least <= value <= at_most:
        limits = f"at least {at_least}" + (f", at most {at_most}" if at_most < math.inf else "")
        raise ConfigError(f"{name} must be a whole number, {limits}, got {_show(value)}")


def _check_number(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> None:
    """Raise ConfigError unless value is a finite int or float (and no bool) within the limits."""
    number = _float(value)
    if not (math.isfinite(number) and number > above and at_least <= number <= at_most):
        low = f"at least {at_least}" if above == -math.inf else f"above {above}"
        limits = low + (f", at most {at_most}" if at_most < math.inf else "")
        raise ConfigError(f"{name} must be a finite number, {limits}, got {_show(value)}")


def _float(value: object) -> float:
    """Return an int or float as a float, and anything else, bool included, as NaN."""
    try:
        return float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:  # an int beyond the largest float
        return math.inf


def _show(value: object) -> str:
    """Return the value as a short piece of one line."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no int of more than 4300 digits
        return "a huge number"
    return shown if len(shown) <= 40 else f"{shown[:30]}… ({len(shown)} characters)"


# The default of people who give no settings: the best of 72 settings by counts, of which five were
# read sentence by sentence (experiments/story).
DEFAULT_SAMPLING = SamplingConfig(temperature=0.6, top_p=0.9, candidates=12)
