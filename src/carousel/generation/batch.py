"""Generate many texts of one model together; each is what it would be alone."""

from collections.abc import Sequence

import numpy as np

from carousel.data.vocabulary import Vocabulary
from carousel.errors import DivergenceError, TextError
from carousel.generation.config import Precision, SamplingConfig
from carousel.generation.engine import COMPUTE_DTYPES, ROWS, Engine
from carousel.generation.generate import check_request, length_after
from carousel.generation.request import Request
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.generation.stop import StopMatcher
from carousel.models.base import LanguageModel

_SECONDS = 0.05  # of each engine step, after which stop strings are searched for


def continue_batch(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    config: SamplingConfig,
    *,
    length: int | None = None,
    stop: Sequence[str] = (),
    samples: int = 1,
    precision: Precision = "bf16",
) -> list[list[str]]:
    """Continue each prompt several times; each text is what `continue_text` gives.

    Args:
        model: In evaluation mode.
        vocabulary: The characters of the model's ids.
        prompts: Not repeated in the texts.
        config: How characters are drawn.
        length: Maximum number of characters. Default: 500, or as many as the model has positions.
        stop: A text ends before the first of these strings in it.
        samples: Texts of each prompt.
        precision: Of the matrix products, as in `continue_text`.

    Returns:
        For each prompt its samples, in the order of their numbers.

    Raises:
        ConfigError: If length, stop or precision are not as above, or the model's positions end
            before a text would.
        TextError: If the vocabulary lacks a character of a prompt; the message names the prompt.
        DivergenceError: If the model's weights are not finite numbers.
    """
    check_request(length, stop, precision)
    boundary = SentenceBoundary.of(vocabulary.itos) if config.candidates > 1 else None
    # As many rows as `continue_text` has: the last bits may depend on their number.
    engine = Engine(
        model, compute_dtype=COMPUTE_DTYPES[precision], rows=min(ROWS, config.candidates)
    )
    matchers: dict[tuple[int, int], StopMatcher] = {}
    for number, prompt in enumerate(prompts):
        ids = _encode(vocabulary, prompt, number)
        for sample in range(samples):
            request = Request(
                prompt=ids,
                length=length_after(model, len(ids), length),
                sampling=config,
                sample=sample,
                boundary=boundary,
            )
            engine.add((number, sample), request)
            matchers[number, sample] = StopMatcher(stop)
    texts = dict.fromkeys(matchers, "")
    while len(engine):
        for output in engine.step(_SECONDS):
            if output.error is not None:
                error = f"the model's weights are damaged or diverged: {output.error}"
                raise DivergenceError(error)
            key, matcher = output.key, matchers[output.key]  # type: ignore[index]
            certain, is_met = matcher.add("".join(vocabulary.itos[token] for token in output.ids))
            if is_met:
                engine.abort(key)
            elif output.is_finished:
                certain += matcher.rest()
            texts[key] += certain  # type: ignore[index]
    return [[texts[number, sample] for sample in range(samples)] for number in range(len(prompts))]


def _encode(vocabulary: Vocabulary, prompt: str, number: int) -> list[int]:
    """Return the ids of a prompt; an empty one begins after a line feed where there is one."""
    if not prompt:
        return [vocabulary.stoi.get("\n", 0)]
    try:
        return np.asarray(vocabulary.encode(prompt)).tolist()  # type: ignore[no-any-return]
    except TextError as error:
        raise TextError(f"prompt {number}: {error}") from None
