"""A model writes on: token ids without end, or text that ends.

The same model, prompt, settings, seed and sample number give the same text, alone or beside
others, since nothing depends on what else is computed: a row of a matrix product may differ in
its last bits with the number of rows, so every text is computed in a batch of its own, B = 1;
a prompt is read in pieces of PIECE characters from its beginning; and each draw has a random
number of its own (carousel.ops.sampling.uniform), not the next one of a shared sequence.
"""

import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import count, islice

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from carousel.errors import ConfigError, DivergenceError, TextError
from carousel.models.base import LanguageModel, State
from carousel.ops.sampling import Settings, distribution, draw, present, uniform
from carousel.sampling.config import SamplingConfig, check_integer
from carousel.sampling.stop import Finish, until_stop
from carousel.text.vocabulary import Vocabulary

LENGTH = 500  # characters that are written where nobody says how many
PIECE = 256  # characters of a prompt read at once: bounds the memory it takes


def continue_text(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompt: str,
    config: SamplingConfig,
    *,
    length: int | None = None,
    stop: Sequence[str] = (),
    sample: int = 0,
) -> Generator[str, None, Finish]:
    """Continue a prompt; everything is checked before the first character is asked for.

    Args:
        model: In evaluation mode.
        vocabulary: The characters of the model's ids.
        prompt: Not repeated in the text. An empty one begins after a line feed where the
            vocabulary has one, else after its first character.
        config: How the characters are drawn.
        length: Characters drawn at most; None: 500, or as far as the model's positions go.
        stop: The text ends before the first of these that comes up in it (the prompt aside).
        sample: Number of the text, 0, 1, …, among those of the same seed.

    Returns:
        The text in pieces, as they are certain to belong to it; why it ended is the generator's
        value.

    Raises:
        ConfigError: If length, stop or sample are not as above, or the model's positions end
            before the text would.
        TextError: If the vocabulary lacks a character of the prompt.
        DivergenceError: While it is read, if the model's weights are not finite numbers.
    """
    if length is not None:
        check_integer("length", length, at_least=1)
    if isinstance(stop, str) or not all(isinstance(s, str) and s for s in stop):
        raise ConfigError(f"stop must be strings of at least one character, got {stop!r}")
    try:
        ids = vocabulary.encode(prompt) if prompt else np.array([vocabulary.stoi.get("\n", 0)])
    except TextError as error:
        raise TextError(f"prompt: {error}") from None
    if length is None:
        length = max(1, int(min(LENGTH, room(model, len(ids)))))
    _check_room(model, len(ids), length)
    drawn = islice(generate(model, ids, config, sample), length)
    return until_stop((vocabulary.itos[token] for token in drawn), stop)


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
    """Return the token ids that follow a prompt, without end; itertools.islice ends them.

    Args:
        model: In evaluation mode; it stays so, and its parameters are not touched.
        prompt: Token ids, at least one.
        config: How the ids are drawn.
        sample: Number n of the text; texts of one seed are independent draws.

    Raises:
        ConfigError: If sample is not a whole number from 0.
        ValueError: If the prompt is empty, or the model in training mode, where dropout would
            make the text depend on torch's global generator.
    """
    check_integer("sample", sample, at_least=0, at_most=2**64 - 1)
    if len(prompt) == 0:
        raise ValueError("the prompt must hold at least one token")
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() first")
    return _generate(model, [int(token) for token in prompt], config, sample)


def _generate(
    model: LanguageModel, prompt: list[int], config: SamplingConfig, sample: int
) -> Iterator[int]:
    settings = Settings(
        repetition_penalty=config.repetition_penalty,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
    )
    recent = deque(prompt, maxlen=config.repetition_window)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    state = None
    for piece in torch.split(torch.tensor([prompt], device=device), PIECE, dim=1):
        logits, state = _advance(model, piece, state)
    for t in count():
        token = _choose(logits, recent, settings, uniform(config.seed, sample, t))
        yield token
        recent.append(token)
        logits, state = _advance(model, torch.tensor([[token]], device=device), state)


@torch.inference_mode()  # here, not in a generator: across a yield it would bind the caller too
def _advance(
    model: LanguageModel, tokens: Int[Tensor, "1 T"], state: State | None
) -> tuple[Float[Tensor, " V"], State]:
    """Read tokens and return the logits of the one after them."""
    logits, state = model(tokens, state)
    return logits[0, -1].cpu(), state


@torch.inference_mode()
def _choose(
    logits: Float[Tensor, " V"], recent: Sequence[int], settings: Settings, u: float
) -> int:
    """Draw the next token by the number u in [0, 1)."""
    seen = present(torch.tensor(list(recent)), len(logits))
    try:
        probabilities = distribution(logits, seen, settings)
    except ValueError as error:
        raise DivergenceError(f"the model's weights are damaged or diverged: {error}") from error
    return int(draw(probabilities, torch.tensor(u, dtype=torch.float64)))
