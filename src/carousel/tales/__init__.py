"""The built-in tales: children's stories from a source whose entropy is known.

A seeded grammar of our own writing tells tales without end. It knows the probability of every tale
it tells, so a model's loss on tales has a floor, in nats per character, that no model can beat in
the long run: `entropy_rate` is the mean over all tales, `floor` that of the very tales at hand.

    TOM AND THE SILVER KEY
    Once upon a time, in a quiet mill near the misty wood, there lived a shy boy named Tom. …
    Then Tom remembered the silver key. It shone like seven stars. … For a kind owl laughs last.
    THE END

A tale is a title, then one paragraph to a line; a blank line ends it and belongs to it. All is
printable ASCII. What there is to learn, from near to far:

- within a word and a phrase: spelling, "a" and "an", forms of verbs, singular and plural;
- within a paragraph: pronouns, names and things taken up again, the answer to a riddle, a rhyme;
- across a tale: hero and thing of the title, the place, the errand, and the proverb that is said
  early and comes true at the end, hundreds of characters apart;
- like brackets: in one tale of four somebody tells a story, in which somebody may tell another;
  when it closes, teller, hero and thing return, then the outer hero, who has waited all the while.

The grammar is unambiguous: a tale can be told by one sequence of choices only (`clashes`
proves it), so that the probability of the text is the probability of those choices.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple, TextIO

from carousel.errors import ConfigError, TextError
from carousel.tales.derivation import Derivation, derive, read
from carousel.tales.entropy import expectation
from carousel.tales.episodes import EPISODES
from carousel.tales.grammar import Grammar, make_rules
from carousel.tales.plots import PLOTS
from carousel.tales.things import THINGS
from carousel.tales.words import PEOPLE


class Tale(NamedTuple):
    """One tale.

    Attributes:
        text: Title, paragraphs, and the blank line that ends it.
        nll: Negative log-likelihood of the text, in nats.
    """

    text: str
    nll: float


class Tales(NamedTuple):
    """Whole tales, one after the other.

    Attributes:
        text: All of them.
        borders: Where each tale begins, and at last where the text ends.
        nlls: Negative log-likelihood of each tale, in nats.
    """

    text: str
    borders: tuple[int, ...]
    nlls: tuple[float, ...]


class Written(NamedTuple):
    """The result of `write`.

    Attributes:
        characters: Their number.
        nll: Negative log-likelihood of all of them, in nats.
    """

    characters: int
    nll: float


@cache
def grammar() -> Grammar:
    """Return the grammar that all tales come from."""
    return Grammar("tale", PEOPLE | THINGS, make_rules(PLOTS + EPISODES))


@cache
def entropy_rate() -> float:
    """Return the mean -log p of a character in the endless stream of tales, in nats.

    Exact: the expected -log p of a tale over its expected length, both with its blank line.
    """
    nll, characters = expectation(grammar())
    return nll / characters


def tales(seed: int) -> Iterator[Tale]:
    """Yield tales endlessly.

    The text depends on the seed alone, on every platform: choices are made in whole numbers from
    Python's Mersenne Twister. The last bit of the nats is the platform's logarithm's.
    """
    uniform = random.Random(f"carousel tales {seed}").random
    while True:
        text, _, nll = derive(grammar(), uniform)
        yield Tale(text, nll)


def tell(seed: int, characters: int) -> Tales:
    """Return whole tales, the first ones of `tales`, with at least this many characters.

    Raises:
        ConfigError: If `characters` is not positive.
    """
    told = list(_enough(seed, characters))
    borders = accumulate((len(tale.text) for tale in told), initial=0)
    return Tales(
        "".join(tale.text for tale in told), tuple(borders), tuple(tale.nll for tale in told)
    )


def write(file: TextIO, seed: int, characters: int) -> Written:
    """Write what `tell` tells, tale by tale, so that the size is limited by the disk only.

    Open the file with `newline=""`, lest Windows make two characters of a line's end.

    Raises:
        ConfigError: If `characters` is not positive.
    """
    written = Written(0, 0.0)
    for text, nll in _enough(seed, characters):
        file.write(text)
        written = Written(written.characters + len(text), written.nll + nll)
    return written


def _enough(seed: int, characters: int) -> Iterator[Tale]:
    if characters < 1:
        raise ConfigError(f"characters must be at least 1, got {characters}")
    told = 0
    for tale in tales(seed):
        yield tale
        told += len(tale.text)
        if told >= characters:
            return


def floor(tales: Tales, start: int, stop: int) -> float:
    """Return the mean -log p of the characters from start to stop, in nats.

    Raises:
        TextError: If start or stop is no border between tales, or no tale lies between them.
    """
    first, last = _border(tales, start), _border(tales, stop)
    if first >= last:
        raise TextError(f"no tale lies between character {start} and character {stop}")
    return math.fsum(tales.nlls[first:last]) / (stop - start)


def _border(tales: Tales, offset: int) -> int:
    """Return the number of the tale that begins at an offset."""
    place = bisect_left(tales.borders, offset)
    if offset not in tales.borders[place : place + 1]:
        near = " and ".join(map(str, tales.borders[max(place - 1, 0) : place + 1]))
        raise TextError(f"character {offset} is no border between tales; the next are {near}")
    return place


def parse(text: str) -> tuple[Derivation, ...]:
    """Find the choices behind whole tales, one derivation for each.

    Raises:
        TextError: If the text is not a run of whole tales; the message says where it departs.
    """
    derivations = []
    start = 0
    while start < len(text):
        found, furthest = read(grammar(), text, start)
        if not found:
            rest = text[furthest : furthest + 30]
            end = " and ends there" if furthest + 30 >= len(text) else ""
            where = f"at character {furthest}, in the tale from {start} on"
            raise TextError(f"{where}: no tale goes on with {rest!r}{end}")
        (derivation,) = found  # there is no second: the grammar is free of clashes
        derivations.append(derivation)
        start += len(derivation.text)
    return tuple(derivations)


def score(text: str) -> float:
    """Return the negative log-likelihood of whole tales, in nats.

    Raises:
        TextError: If the text is not a run of whole tales; the message says where it departs.
    """
    return math.fsum(derivation.nll for derivation in parse(text))
