"""Draw a text of a grammar, or find the choices behind a given one; either way, score it."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from carousel.tales.grammar import Call, Choice, Draw, Grammar, Part, Recall, Word


class Derivation(NamedTuple):
    """A text and how it came about.

    Attributes:
        text: What was said.
        choices: The index taken at every choice, in order.
        nll: The negative log-likelihood of those choices, in nats.
    """

    text: str
    choices: tuple[int, ...]
    nll: float


class Reading(NamedTuple):
    """The derivations that agree with a text.

    Attributes:
        derivations: All derivations of the texts that begin at the given place.
        furthest: Where the part begins that no reading got past.
    """

    derivations: tuple[Derivation, ...]
    furthest: int


def pick(choice: Choice, uniform: float, without: int | None = None) -> int:
    """Turn a number in [0, 1) into an option; one option may be left out."""
    total = choice.cumulative[-1]
    if without is None:
        return bisect_right(choice.cumulative, int(uniform * total))
    gap = choice.weights[without]
    point = int(uniform * (total - gap))  # counts units of weight, the gap's own skipped
    if point >= choice.cumulative[without] - gap:
        point += gap
    return bisect_right(choice.cumulative, point)


def cost(choice: Choice, index: int, without: int | None = None) -> float:
    """Give -log p of an option, in nats; one other option may be left out."""
    if without is None:
        return choice.costs[index]
    return math.log((choice.cumulative[-1] - choice.weights[without]) / choice.weights[index])


_Scope = Mapping[str, tuple[int, Word]]  # what a name stands for: index in its table, and word


def _left_out(draw: Draw, scope: _Scope) -> int | None:
    return scope[draw.unlike][0] if draw.unlike else None


def _remember(draw: Draw, scope: _Scope, index: int, word: Word) -> _Scope:
    return {**scope, draw.name: (index, word)} if draw.name else scope


def derive(grammar: Grammar, uniform: Callable[[], float]) -> Derivation:
    """Draw a text; `uniform` gives a fresh number in [0, 1) for each choice."""
    texts: list[str] = []
    choices: list[int] = []
    nll = 0.0
    scope: _Scope = {}
    parts: Iterator[Part] = iter((Call(grammar.start),))
    callers: list[tuple[Iterator[Part], _Scope]] = []
    while True:
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, Recall):
                texts.append(scope[part.name][1][part.form])
            elif isinstance(part, Draw):
                table = grammar.tables[part.table]
                without = _left_out(part, scope)
                index = pick(table.choice, uniform(), without)
                nll += cost(table.choice, index, without)
                choices.append(index)
                word = table.words[index]
                texts.append(word[part.form])
                scope = _remember(part, scope, index, word)
            else:
                rule = grammar.rules[part.rule]
                index = pick(rule.choice, uniform())
                nll += cost(rule.choice, index)
                choices.append(index)
                callers.append((parts, scope))
                parts = iter(rule.alternatives[index])
                break
        else:
            if not callers:
                return Derivation("".join(texts), tuple(choices), nll)
            parts, scope = callers.pop()


class _Attempt(NamedTuple):
    """A reading under way; attempts share what they have in common, so nothing in it changes."""

    at: int
    todo: Any  # (parts, scope, what to do after them), or None at the end
    choices: Any  # (latest index, choices before it), or None
    nll: float


def read(grammar: Grammar, text: str, start: int = 0) -> Reading:
    """Find every derivation whose text stands in `text` at `start`.

    All options are tried at every choice. In a grammar without `clashes` all but one fail
    where the text departs from them, and at most one derivation is found.
    """
    found: list[Derivation] = []
    furthest = start
    attempts = [_Attempt(start, ((Call(grammar.start),), {}, None), None, 0.0)]
    while attempts:
        attempt = attempts.pop()
        furthest = max(furthest, attempt.at)
        if attempt.todo is None:
            choices = tuple(_listed(attempt.choices))[::-1]
            found.append(Derivation(text[start : attempt.at], choices, attempt.nll))
        else:
            attempts.extend(_steps(grammar, text, attempt))
    return Reading(tuple(found), furthest)


def _steps(grammar: Grammar, text: str, attempt: _Attempt) -> Iterator[_Attempt]:
    """Extend by the next part in every way that agrees with the text."""
    at, (parts, scope, after), choices, nll = attempt
    if not parts:
        yield _Attempt(at, after, choices, nll)
        return
    part, rest = parts[0], parts[1:]
    if isinstance(part, Call):
        rule = grammar.rules[part.rule]
        then = (rest, scope, after)
        for index, alternative in enumerate(rule.alternatives):
            total = nll + cost(rule.choice, index)
            yield _Attempt(at, (alternative, scope, then), (index, choices), total)
    elif isinstance(part, Draw):
        table = grammar.tables[part.table]
        without = _left_out(part, scope)
        for index, word in enumerate(table.words):
            said = word[part.form]
            if index != without and text.startswith(said, at):
                total = nll + cost(table.choice, index, without)
                known = _remember(part, scope, index, word)
                yield _Attempt(at + len(said), (rest, known, after), (index, choices), total)
    else:
        said = part if isinstance(part, str) else scope[part.name][1][part.form]
        if text.startswith(said, at):
            yield _Attempt(at + len(said), (rest, scope, after), choices, nll)


def _listed(chain: Any) -> Iterator[int]:
    while chain is not None:
        index, chain = chain
        yield index
