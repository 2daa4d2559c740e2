"""Draw a text of a grammar, or find the choices behind a given one; either way, score it."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from os.path import commonprefix
from typing import Any, NamedTuple

from carousel.text.tales_grammar import Call, Choice, Draw, Grammar, Part, Parts, Recall, Word


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
    """All derivations of the texts that begin at one place, and how far any attempt came."""

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
    """A reading under way; everything in it is immutable, so attempts share what they can."""

    at: int
    parts: Parts  # the alternative being read,
    done: int  # of which so many parts are read
    scope: _Scope
    callers: Any  # (parts, done, scope, callers) or None
    choices: Any  # (index, choices) or None, the latest first
    nll: float


def read(grammar: Grammar, text: str, start: int = 0) -> Reading:
    """Find every derivation whose text stands in `text` at `start`.

    All alternatives are tried at every choice. For a grammar without `tales_analysis.clashes` all
    but one die where the text departs from them, and at most one derivation is found.
    """
    found: list[Derivation] = []
    furthest = start
    attempts = [_Attempt(start, (Call(grammar.start),), 0, {}, None, None, 0.0)]
    while attempts:
        at, parts, done, scope, callers, choices, nll = attempts.pop()
        while True:
            if done == len(parts):
                if callers is None:
                    found.append(Derivation(text[start:at], _unwind(choices), nll))
                    break
                parts, done, scope, callers = callers
                continue
            part = parts[done]
            done += 1
            if isinstance(part, Call):
                rule = grammar.rules[part.rule]
                caller = (parts, done, scope, callers)
                for index, alternative in enumerate(rule.alternatives):
                    total = nll + cost(rule.choice, index)
                    trail = (index, choices)
                    attempts.append(_Attempt(at, alternative, 0, scope, caller, trail, total))
                break
            if isinstance(part, Draw):
                table = grammar.tables[part.table]
                without = _left_out(part, scope)
                for index, word in enumerate(table.words):
                    if index == without or not text.startswith(word[part.form], at):
                        continue
                    total = nll + cost(table.choice, index, without)
                    end = at + len(word[part.form])
                    known = _remember(part, scope, index, word)
                    trail = (index, choices)
                    attempts.append(_Attempt(end, parts, done, known, callers, trail, total))
                furthest = max(furthest, at)
                break
            said = part if isinstance(part, str) else scope[part.name][1][part.form]
            if not text.startswith(said, at):
                agreed = len(commonprefix([said, text[at : at + len(said)]]))
                furthest = max(furthest, at + agreed)
                break
            at += len(said)
    return Reading(tuple(found), furthest)


def _unwind(trail: Any) -> tuple[int, ...]:
    choices = []
    while trail is not None:
        index, trail = trail
        choices.append(index)
    return tuple(reversed(choices))
