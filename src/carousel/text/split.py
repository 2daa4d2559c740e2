"""Parts of a corpus: which characters are for training, which for judging."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from carousel.errors import ConfigError, TextError
from carousel.text.corpus import Corpus

Method = Literal["contiguous", "exact"]
Split = dict[str, tuple[int, int]]  # part to its range [start, stop), in the order of the text

PARTS = ("train", "validation", "test")


def split(corpus: Corpus, method: Method, fractions: Sequence[float] | None = None) -> Split:
    """Cut a corpus by the method of this name; None takes the method's own fractions.

    Raises:
        ConfigError: If there is no such method, or the fractions make no sense.
        TextError: If a part would be empty.
    """
    if method not in get_args(Method):
        raise ConfigError(f"split must be one of {', '.join(get_args(Method))}, got {method!r}")
    cut = {"contiguous": contiguous, "exact": exact}[method]
    return cut(corpus) if fractions is None else cut(corpus, fractions)


def contiguous(corpus: Corpus, fractions: Sequence[float] = (0.9, 0.05, 0.05)) -> Split:
    """Cut between documents: each cut moves to the nearest beginning of one after a blank line.

    A border counts only if it is nearer than half of the smaller part beside the cut, so that the
    parts keep about their sizes and none is lost; without one the cut is exact.

    Args:
        corpus: N characters.
        fractions: Of train, validation and, if there are three, test; they add up to 1.

    Raises:
        ConfigError: If the fractions are others.
        TextError: If a part would be empty.
    """
    targets = _cuts(len(corpus), fractions)
    sizes = np.diff([0, *targets, len(corpus)])
    reach = np.minimum(sizes[:-1], sizes[1:]) / 2
    cuts = [_nearest_border(corpus, t, r) for t, r in zip(targets, reach, strict=True)]
    return _parts(corpus, cuts)


def exact(corpus: Corpus, fractions: Sequence[float] = (0.9, 0.1)) -> Split:
    """Cut at exactly ⌊N (f₁ + … + fₖ)⌋ characters.

    With 0.9 and 0.1 this is the customary split of Tiny Shakespeare: 1,003,854 and 111,540.

    Args:
        corpus: N characters.
        fractions: Of train, validation and, if there are three, test; they add up to 1.

    Raises:
        ConfigError: If the fractions are others.
        TextError: If a part would be empty.

    Source: karpathy/nanoGPT, data/shakespeare_char/prepare.py.
    """
    return _parts(corpus, _cuts(len(corpus), fractions))


def _cuts(length: int, fractions: Sequence[float]) -> list[int]:
    """Return the exact places of the cuts, one fewer than there are fractions."""
    if len(fractions) not in (2, 3) or not all(0 < fraction < 1 for fraction in fractions):
        raise ConfigError(f"fractions must be two or three between 0 and 1, got {list(fractions)}")
    if not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise ConfigError(f"fractions must add up to 1, got {list(fractions)}")
    decimals = [Fraction(str(fraction)) for fraction in fractions]  # 0.7 + 0.2 is 0.9, not less
    return [int(length * sum(decimals[:k])) for k in range(1, len(decimals))]


def _nearest_border(corpus: Corpus, target: int, reach: float) -> int:
    """Return the border nearest to the target, the earlier of two; the target if none is near."""
    after = int(np.searchsorted(corpus.borders, target))
    around = [int(border) for border in corpus.borders[max(after - 1, 0) : after + 1]]
    nearest = min(around, key=lambda border: abs(border - target), default=target)
    return nearest if abs(nearest - target) < reach else target


def _parts(corpus: Corpus, cuts: Sequence[int]) -> Split:
    edges = [0, *cuts, len(corpus)]
    parts = dict(zip(PARTS, pairwise(edges), strict=False))
    for name, (start, stop) in parts.items():
        if start == stop:
            raise TextError(
                f"{corpus.name} has {len(corpus)} characters, too few to split: "
                f"the {name} part would be empty"
            )
    return parts
