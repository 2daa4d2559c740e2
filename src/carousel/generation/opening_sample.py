"""A short sample that begins as the training text does: during a run, and at its end."""

from collections.abc import Iterator

from carousel.data.vocabulary import Vocabulary
from carousel.generation.config import SamplingConfig
from carousel.generation.generate import continue_text, length_left
from carousel.models.base import LanguageModel

SAMPLING = SamplingConfig(temperature=0.6)


def opening_sample(
    model: LanguageModel, vocabulary: Vocabulary, prompt: str, length: int
) -> tuple[str, Iterator[str]]:
    """Return the prompt, and what the model writes after it, as far as its positions go.

    Where they end too soon for both, there is no prompt.

    Args:
        model: In evaluation mode.
        vocabulary: Its characters.
        prompt: How the text begins.
        length: Characters to write.
    """
    if length_left(model, len(prompt)) < length:
        prompt = ""
    length = int(min(length, length_left(model, 1)))
    return prompt, continue_text(model, vocabulary, prompt, SAMPLING, length=length)
