"""Parts of a corpus: which characters are for training, which for judging."""

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from carousel.data.assign_split import draw
from carousel.data.book_index import book_starts
from carousel.data.corpus import Corpus
from carousel.data.range_view import Ranges
from carousel.errors import ConfigError, TextError

Method = Literal["contiguous", "exact", "documents", "books"]
Split = dict[str, Ranges]  # part to its stretches; no character is in two parts, or in none

PARTS = ("train", "validation", "test")


def split(
    corpus: Corpus,
    method: Method,
    fractions: Sequence[float] | None = None,
    *,
    seed: int = 0,
    index: Path | None = None,
) -> Split:
    """Part a corpus by the method of this name.

    Args:
        corpus: N characters.
        method: Name of one of the functions below.
        fractions: Of train, validation and, if there are three, test; None takes the method's own.
        seed: Of the methods that draw, in [0, 2¹²⁸).
        index: Of the books, needed by the method books alone.

    Raises:
        ConfigError: If there is no such method, or the other arguments make no sense with it.
        TextError: If a part would be empty, or the index is wrong.
    """
    check_method(method, index)
    chosen = () if fractions is None else (fractions,)
    if method == "documents":
        return documents(corpus, *chosen, seed=seed)
    if method == "books":
        return books(corpus, Path(index or ""), *chosen, seed=seed)
    return {"contiguous": contiguous, "exact": exact}[method](corpus, *chosen)


def check_method(method: str, index: object) -> None:
    """Refuse an unknown method, books without an index, and an index without books.

    Raises:
        ConfigError: If it is so.
    """
    if method not in get_args(Method):
        raise ConfigError(f"split must be one of {', '.join(get_args(Method))}, got {method!r}")
    if method == "books" and index is None:
        raise ConfigError("--split books needs --index, a file that says where each book begins")
    if method != "books" and index is not None:
        raise ConfigError(f"--index is for --split books, and the split is {method}")


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


def documents(
    corpus: Corpus, fractions: Sequence[float] = (0.9, 0.05, 0.05), *, seed: int = 0
) -> Split:
    """Draw whole documents, each with the blank line that ends it, for validation and test.

    Args:
        corpus: N characters.
        fractions: Of train, validation and, if there are three, test; they add up to 1. Sizes come
            as near to them as `draw` says.
        seed: Of the draw, in [0, 2¹²⁸).

    Raises:
        ConfigError: If the fractions are others.
        TextError: If there are fewer documents than parts.
    """
    starts = np.concatenate([np.zeros(1, np.int64), corpus.borders])
    if len(starts) < len(fractions):
        raise TextError(
            f"{_too_few(corpus, len(starts), 'document', fractions)}, with blank lines between "
            "them: --split contiguous or exact would work"
        )
    return _drawn(corpus, starts, fractions, seed)


def books(
    corpus: Corpus, index: Path, fractions: Sequence[float] = (0.9, 0.05, 0.05), *, seed: int = 0
) -> Split:
    """Draw whole books, each with the blank lines after it, for validation and test.

    Args:
        corpus: N characters.
        index: A table of the books, as `book_index` describes it.
        fractions: Of train, validation and, if there are three, test; they add up to 1. Sizes come
            as near to them as `draw` says.
        seed: Of the draw, in [0, 2¹²⁸).

    Raises:
        ConfigError: If the fractions are others.
        TextError: If there are fewer books than parts, or the index does not fit the text.
    """
    starts = book_starts(index, corpus)
    if len(starts) < len(fractions):
        raise TextError(
            f"{_too_few(corpus, len(starts), 'book', fractions)}: --split documents may work"
        )
    return _drawn(corpus, starts, fractions, seed)


def sha256(parts: Split) -> str:
    """Return a hash that two splits share only if they part a text at the same places."""
    digest = hashlib.sha256()
    for name, ranges in parts.items():
        digest.update(f"{name} {len(ranges)}\n".encode())
        digest.update(ranges.astype("<i8").tobytes())
    return digest.hexdigest()


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
    edges = list(pairwise([0, *cuts, len(corpus)]))
    for name, (start, stop) in zip(PARTS, edges, strict=False):
        if start == stop:
            raise TextError(
                f"{corpus.name} has {len(corpus)} characters, too few to split: "
                f"the {name} part would be empty"
            )
    return {name: np.array([edge], np.int64) for name, edge in zip(PARTS, edges, strict=False)}


def _too_few(corpus: Corpus, count: int, unit: str, fractions: Sequence[float]) -> str:
    units = f"{count} {unit}" + "s" * (count > 1)
    return f"{corpus.name} has {units}, and {len(fractions)} parts need one each"


def _drawn(
    corpus: Corpus, starts: NDArray[np.int64], fractions: Sequence[float], seed: int
) -> Split:
    """Deal out the units that begin at these places, the first of them at 0."""
    edges = [0, *_cuts(len(corpus), fractions), len(corpus)]
    sizes = np.diff(starts, append=len(corpus))
    numbers = draw(sizes, [stop - start for start, stop in pairwise(edges)], seed)
    is_first = np.diff(numbers, prepend=-1) != 0  # of a run of units in the same part
    begins, owners = starts[is_first], numbers[is_first]
    ranges = np.stack([begins, np.append(begins[1:], len(corpus))], axis=1)  # (K, 2)
    return {name: ranges[owners == number] for number, name in enumerate(PARTS[: len(fractions)])}
