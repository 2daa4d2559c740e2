"""The words that a text begins with: what a model that learnt it is given to go on with."""

from collections.abc import Mapping
from typing import Any

from carousel.data.vocabulary import Vocabulary

ONCE = "Once upon a time"
LONGEST = 24  # characters


def opening(text: str) -> str:
    """Return how stories begin, where they do in this text, or the words that it begins with.

    Args:
        text: Its beginning, long enough to hold some stories.

    Returns:
        At most LONGEST characters of a line, whole words where it has any; nothing if there is no
        line of letters, digits and signs.
    """
    if ONCE in text:
        return ONCE
    lines = map(str.strip, text.split("\n"))
    line = next((line for line in lines if line and line.isprintable()), "")
    if len(line) <= LONGEST:
        return line
    words, space, _ = line[: LONGEST + 1].rpartition(" ")
    return words.rstrip() if space else line[:LONGEST]


def opening_of(config: Mapping[str, Any], vocabulary: Vocabulary) -> str:
    """Return the words to give to a model at first: nothing where it cannot spell them.

    Args:
        config: What its config.json says; it need not say anything of its text.
        vocabulary: Its characters.
    """
    about = config.get("corpus")
    words = about.get("opening", ONCE) if isinstance(about, Mapping) else ONCE
    return words if isinstance(words, str) and {*words} <= {*vocabulary.itos} else ""
