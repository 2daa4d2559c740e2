"""A small language for stories in which every choice has a known probability.

A grammar is tables of words and rules. A rule is a list of alternatives, each with a whole-number
weight; its probability is its weight over their sum. Inside an alternative stand plain text and

    [animal]            a word drawn from the table `animal`
    [animal.a]          the same in its form `a`: "an owl"
    [beast=animal]      a drawn word that is remembered as `beast`
    [friend=name!hero]  any word of the table but the one that `hero` stands for
    {beast} {hero.he}   the remembered word again, in any of its forms
    <meeting>           one alternative of the rule `meeting`
    |                   the end of a line

`[Animal]`, `{Hero}`, `{hero.He}` begin with a capital, `{HERO}` is all capitals. What an alternative
remembers is known to the rest of it and to the rules it calls, and is forgotten at its end: a
story inside a story has heroes of its own, and gives the old ones back when it is over.

The grammar is written once and read by `derive` (draws a text), `read` (finds the choices behind a
text) and by `tales_analysis` (expectations, and the proof that a text has one reading).
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from os.path import commonprefix
from typing import Any, NamedTuple

Word = Mapping[str, str]  # form -> text; the forms `he`, `He` and `HE` differ in case only


class Choice(NamedTuple):
    """A categorical distribution with whole-number weights.

    Attributes:
        weights: One positive weight per option.
        cumulative: Running sums of the weights; the last is their total.
        costs: -log p of each option, in nats.
    """

    weights: tuple[int, ...]
    cumulative: tuple[int, ...]
    costs: tuple[float, ...]


class Table(NamedTuple):
    """Words, and how likely each is."""

    choice: Choice
    words: tuple[Word, ...]


class Recall(NamedTuple):
    """A remembered word, said again: `{name.form}`."""

    name: str
    form: str


class Draw(NamedTuple):
    """A word drawn from a table: `[name=table!unlike.form]`; name and unlike may be empty."""

    table: str
    form: str
    name: str
    unlike: str


class Call(NamedTuple):
    """One alternative of a rule: `<rule>`."""

    rule: str


Part = str | Recall | Draw | Call
Parts = tuple[Part, ...]


class Rule(NamedTuple):
    """Alternatives, and how likely each is."""

    choice: Choice
    alternatives: tuple[Parts, ...]


class Grammar(NamedTuple):
    """Tables and rules by name; a text is one alternative of the rule `start`."""

    start: str
    tables: dict[str, Table]
    rules: dict[str, Rule]


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


def make_choice(weights: Sequence[int]) -> Choice:
    """Prepare a distribution for drawing and scoring."""
    total = sum(weights)
    costs = tuple(math.log(total / weight) for weight in weights)
    return Choice(tuple(weights), tuple(accumulate(weights)), costs)


def make_table(weights: Sequence[int], words: Sequence[Word]) -> Table:
    """Add to each word its forms with a capital and in capitals."""
    return Table(make_choice(weights), tuple(_with_capitals(word) for word in words))


def _with_capitals(word: Word) -> Word:
    capitals = {form.capitalize(): text[:1].upper() + text[1:] for form, text in word.items()}
    shouted = {form.upper(): text.upper() for form, text in word.items()}
    return {**shouted, **capitals, **word}  # of a one-letter form, `A` is the capital


def make_rules(source: str) -> dict[str, Rule]:
    """Read rules from text.

    A line without indentation names a rule; below it, each indented line that begins with a weight
    is an alternative, and other indented lines continue the one above.
    """
    sources: dict[str, list[tuple[int, str]]] = {}
    for line in filter(None, source.splitlines()):
        words = line.split(maxsplit=1)
        if not line.startswith(" "):
            sources[line] = alternatives = []
        elif words[0].isdigit():
            alternatives.append((int(words[0]), words[1]))
        else:
            weight, above = alternatives.pop()
            alternatives.append((weight, f"{above} {line.strip()}"))
    return {
        name: Rule(
            make_choice([weight for weight, _ in alternatives]),
            tuple(_parts(template) for _, template in alternatives),
        )
        for name, alternatives in sources.items()
    }


_BRACKETS = re.compile(
    r"\[(?:(?P<name>\w+)=)?(?P<table>\w+)(?:!(?P<unlike>\w+))?(?:\.(?P<drawn>\w+))?\]"
    r"|\{(?P<again>\w+)(?:\.(?P<form>\w+))?\}"
    r"|<(?P<rule>\w+)>"
)


def _parts(template: str) -> Parts:
    """Split an alternative into plain text and brackets."""
    parts: list[Part] = []
    end = 0
    for match in _BRACKETS.finditer(template):
        if match.start() > end:
            parts.append(_plain(template[end : match.start()]))
        parts.append(_bracket({key: value or "" for key, value in match.groupdict().items()}))
        end = match.end()
    if end < len(template):
        parts.append(_plain(template[end:]))
    return tuple(parts)


def _plain(text: str) -> str:
    if stray := re.search(r"[\[\]{}<>]", text):
        raise ValueError(f"stray {stray[0]!r} in the story text {text!r}")
    return text.replace("|", "\n")


def _bracket(slots: dict[str, str]) -> Part:
    if slots["rule"]:
        return Call(slots["rule"])
    if slots["again"]:
        return Recall(slots["again"].lower(), slots["form"] or _word_form(slots["again"]))
    form = slots["drawn"] or _word_form(slots["name"] or slots["table"])
    return Draw(slots["table"].lower(), form, slots["name"].lower(), slots["unlike"])


def _word_form(name: str) -> str:
    """The form `word`, in the case in which the name is written."""
    return "WORD" if name.isupper() else "Word" if name[0].isupper() else "word"


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
