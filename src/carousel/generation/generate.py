"""One text: token ids without end, or characters that end.

The same model, prompt, settings, seed and sample number give the same text, alone or beside
others: what a text becomes does not depend on what else is computed (generation/engine.py), and
each draw has a random number of its own (carousel.ops.sampling.uniform), not the next one of a
shared sequence.
"""

import math
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from carousel.data.vocabulary import Vocabulary
from carousel.errors import ConfigError, DivergenceError, TextError
from carousel.generation.config import TELLING, Precision, SamplingConfig, check_integer
from carousel.generation.engine import PRODUCTS, ROWS, Engine
from carousel.generation.request import ENDLESS, Task
from carousel.generation.sentence_boundary import Marks
from carousel.generation.stop import Finish, until_stop
from carousel.models.base import LanguageModel

LENGTH = 500  # characters that are written where nobody says how many
LONGEST_WAIT = 0.02  # seconds until the next piece of a text


def continue_text(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompt: str,
    config: SamplingConfig = TELLING,
    *,
    length: int | None = None,
    stop: Sequence[str] = (),
    sample: int = 0,
    precision: Precision = "bf16",
) -> Generator[str, None, Finish]:
    """Continue a prompt; everything is checked before the first character is asked for.

    Args:
        model: In evaluation mode.
        vocabulary: The characters of the model's ids.
        prompt: Not repeated in the text. An empty one begins after a line feed where the
            vocabulary has one, else after its first character.
        config: How the characters are drawn; by default as `carousel sample` does.
        length: Characters drawn at most; None: 500, or as far as the model's positions go.
        stop: The text ends before the first of these that comes up in it (the prompt aside).
        sample: Number of the text, 0, 1, …, among those of the same seed.
        precision: Of the products: "bf16" where the processor multiplies it natively, or "float32",
            which gives the same text on others, too.

    Returns:
        The text in pieces, as they are certain to belong to it; why it ended is the generator's
        value.

    Raises:
        ConfigError: If length, stop, sample or precision are not as above, or the model's positions
            end before the text would.
        TextError: If the vocabulary lacks a character of the prompt.
        DivergenceError: While it is read, if the model's weights are not finite numbers.
    """
    check_request(length, stop, precision)
    try:
        ids = vocabulary.encode(prompt) if prompt else np.array([vocabulary.stoi.get("\n", 0)])
    except TextError as error:
        raise TextError(f"prompt: {error}") from None
    length = length_after(model, len(ids), length)
    marks = Marks.of(vocabulary.itos) if config.candidates > 1 else None
    engine = Engine(model, product=PRODUCTS[precision], rows=min(ROWS, config.candidates))
    task = Task(prompt=ids.tolist(), length=length, sampling=config, sample=sample, marks=marks)
    engine.join(0, task)
    pieces = _written(engine)
    return until_stop(
        ("".join(vocabulary.itos[token] for token in piece) for piece in pieces), stop
    )


def check_request(length: int | None, stop: Sequence[str], precision: str) -> None:
    """Refuse a length, stop strings or a precision that no text can have.

    Raises:
        ConfigError: The message names which.
    """
    if length is not None:
        check_integer("length", length, at_least=1)
    if isinstance(stop, str) or not all(isinstance(s, str) and s for s in stop):
        raise ConfigError(f"stop must be strings of at least one character, got {stop!r}")
    if precision not in PRODUCTS:
        raise ConfigError(f"precision must be one of {', '.join(PRODUCTS)}, got {precision!r}")


def length_after(model: LanguageModel, prompt: int, length: int | None) -> int:
    """Return how many characters to write after a prompt; None: 500, or as far as positions go.

    Raises:
        ConfigError: If the model's positions end before the text would.
    """
    if length is None:
        length = max(1, int(min(LENGTH, room(model, prompt))))
    _check_room(model, prompt, length)
    return length


def room(model: LanguageModel, prompt: int) -> float:
    """Return how many characters a model can write after a prompt of so many; often ∞."""
    # The last character that is written need not be read.
    return math.inf if model.longest_stream is None else model.longest_stream - prompt + 1


def _check_room(model: LanguageModel, prompt: int, length: int) -> None:
    """Refuse a text that would go on where the model has no more positions."""
    left = room(model, prompt)
    if length <= left:
        return
    longest = f"this model has positions for {model.longest_stream} characters"
    if left < 1:
        raise ConfigError(f"{longest}, the prompt has {prompt}: a shorter one would work")
    raise ConfigError(f"{longest}: after {prompt} a length of {left} would work, not {length}")


def generate(
    model: LanguageModel,
    prompt: Sequence[int] | NDArray[np.integer],
    config: SamplingConfig,
    sample: int = 0,
) -> Iterator[int]:
    """Return the token ids that follow a prompt, without end, or as far as there are positions.

    Args:
        model: In evaluation mode; it stays so, and its parameters are not touched.
        prompt: Token ids, at least one.
        config: How the ids are drawn.
        sample: Number n of the text; texts of one seed are independent draws.

    Raises:
        ConfigError: If sample is not a whole number from 0, or candidates above 1 are asked for:
            where a sentence ends is seen in characters only (`continue_text`).
        ValueError: If the prompt is empty, or the model in training mode, where dropout would
            make the text depend on torch's global generator.
    """
    engine = Engine(model, rows=1)
    ids, length = [int(token) for token in prompt], int(min(ENDLESS, room(model, len(prompt))))
    engine.join(0, Task(prompt=ids, length=length, sampling=config, sample=sample))
    return (token for piece in _written(engine) for token in piece)


def _written(engine: Engine) -> Iterator[list[int]]:
    """Yield the ids of the engine's one text: the first at once, then more at a time."""
    seconds = 0.0
    while len(engine):
        (news,) = engine.advance(seconds)
        seconds = min(LONGEST_WAIT, 2 * seconds + 1e-4)
        if news.ids:
            yield news.ids
        if news.error is not None:
            raise DivergenceError(f"the model's weights are damaged or diverged: {news.error}")
