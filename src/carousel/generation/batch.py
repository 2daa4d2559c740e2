"""Many texts of one model, written together; each is what it would be alone."""

from collections.abc import Sequence

import numpy as np

from carousel.data.vocabulary import Vocabulary
from carousel.errors import DivergenceError, TextError
from carousel.generation.config import Precision, SamplingConfig
from carousel.generation.engine import PRODUCTS, ROWS, Engine
from carousel.generation.generate import check_request, length_after
from carousel.generation.request import Task
from carousel.generation.sentence_boundary import Marks
from carousel.generation.stop import Ending
from carousel.models.base import LanguageModel

_SECONDS = 0.05  # of each call of the engine, after which stop strings are looked for


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
    """Continue each prompt several times; each text is what `continue_text` writes.

    Args:
        model: In evaluation mode.
        vocabulary: The characters of the model's ids.
        prompts: Not repeated in the texts.
        config: How the characters are drawn.
        length: Characters drawn at most; None: 500, or as far as the model's positions go.
        stop: A text ends before the first of these that comes up in it.
        samples: Texts of each prompt.
        precision: Of the products, as in `continue_text`.

    Returns:
        For each prompt its samples, in order of their numbers.

    Raises:
        ConfigError: If length, stop or precision are not as above, or the model's positions end
            before a text would.
        TextError: If the vocabulary lacks a character of a prompt; the message names the prompt.
        DivergenceError: If the model's weights are not finite numbers.
    """
    check_request(length, stop, precision)
    marks = Marks.of(vocabulary.itos) if config.candidates > 1 else None
    # As many rows as for one text alone: last bits may depend on their number.
    engine = Engine(model, product=PRODUCTS[precision], rows=min(ROWS, config.candidates))
    endings: dict[tuple[int, int], Ending] = {}
    for number, prompt in enumerate(prompts):
        ids = _encode(vocabulary, prompt, number)
        for sample in range(samples):
            task = Task(
                prompt=ids,
                length=length_after(model, len(ids), length),
                sampling=config,
                sample=sample,
                marks=marks,
            )
            engine.join((number, sample), task)
            endings[number, sample] = Ending(stop)
    texts = dict.fromkeys(endings, "")
    while len(engine):
        for news in engine.advance(_SECONDS):
            if news.error is not None:
                raise DivergenceError(f"the model's weights are damaged or diverged: {news.error}")
            key, ending = news.key, endings[news.key]  # type: ignore[index]
            certain, is_met = ending.add("".join(vocabulary.itos[token] for token in news.ids))
            if is_met:
                engine.leave(key)
            elif news.is_over:
                certain += ending.rest()
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
