"""A small language for stories in which every choice has a known probability.

A grammar is tables of words and rules. A rule is a list of alternatives, each with a whole-number
weight; its probability is its weight over their sum. Inside an alternative stand plain text and

    [animal]            a word drawn from the table `animal`
    [animal.a]          the same in its form `a`: "an owl"
    [beast=animal]      a drawn word that is remembered as `beast`
    [friend=name!hero]  any word of the table but the one that `hero` stands for
    {beast} {hero.he}   the remembered word again, in any of its forms
    <meeting>           one alternative of the rule `meeting`; `<Meeting>` begins with a capital
    (river/ditch)       one of these, each as likely as the others; they may hold brackets
    |                   the end of a line

`[Animal]`, `{Hero}`, `{hero.He}` begin with a capital, `{HERO}` is all capitals. What an
alternative remembers is known to the rest of it and to the rules it calls, and is forgotten at its
end: a story inside a story has heroes of its own, and gives the old ones back when it is over.

A grammar is written once and used three times: `derivation` draws texts and finds the choices
behind a text, `entropy` computes means, `clashes` proves that a text has one reading.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

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
    """A word drawn from a table: `[name=table.form!unlike]`; name and unlike may be empty."""

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


def make_choice(weights: Sequence[int]) -> Choice:
    """Prepare a distribution for drawing and scoring."""
    total = sum(weights)
    costs = tuple(math.log(total / weight) for weight in weights)
    return Choice(tuple(weights), tuple(accumulate(weights)), costs)


def make_table(weights: Sequence[int], words: Sequence[Word]) -> Table:
    """Add to each word its forms with a capital and in capitals."""
    return Table(make_choice(weights), tuple(_with_capitals(word) for word in words))


def _with_capitals(word: Word) -> Word:
    capitals = {form.capitalize(): _sentence_case(text) for form, text in word.items()}
    shouted = {form.upper(): text.upper() for form, text in word.items()}
    return {**shouted, **capitals, **word}  # of a one-letter form, `A` is the capital


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def make_rules(source: str) -> dict[str, Rule]:
    """Read rules from text.

    A line without indentation names a rule; below it, each indented line that begins with a weight
    is an alternative, and other indented lines continue the one above.
    """
    sources: dict[str, list[tuple[int, str]]] = {}
    for line in filter(None, source.splitlines()):
        if not line.startswith(" "):
            sources[line] = alternatives = []
        elif weighted := re.fullmatch(r" +(\d+) (.+)", line):
            alternatives.append((int(weighted[1]), weighted[2]))
        else:
            weight, above = alternatives.pop()
            alternatives.append((weight, f"{above} {line.strip()}"))
    rules = {name: _rule(alternatives) for name, alternatives in sources.items()}
    called = _called(rules.values())
    while called:
        name = called.pop()
        if name not in rules:
            rules[name] = _implied(name, rules)
            called += _called([rules[name]])
    return rules


def _rule(alternatives: Sequence[tuple[int, str]]) -> Rule:
    weights, templates = zip(*alternatives, strict=True)
    return Rule(make_choice(weights), tuple(map(_parts, templates)))


def _called(rules: Iterable[Rule]) -> list[str]:
    alternatives = chain.from_iterable(rule.alternatives for rule in rules)
    return [part.rule for part in chain.from_iterable(alternatives) if isinstance(part, Call)]


def _implied(name: str, rules: dict[str, Rule]) -> Rule:
    """Make the rule behind `(river/ditch)`, or behind `^spot`, which is how `<Spot>` is called."""
    if name.startswith("("):
        return _rule([(1, option) for option in name[1:-1].split("/")])
    if not name.startswith("^"):
        raise KeyError(f"no rule is named {name!r}")
    rule = rules[name[1:]] if name[1:] in rules else _implied(name[1:], rules)
    return rule._replace(
        alternatives=tuple((_capital(first), *rest) for first, *rest in rule.alternatives)
    )


def _capital(part: Part) -> Part:
    if isinstance(part, str):
        return _sentence_case(part)
    if isinstance(part, Call):
        return Call(f"^{part.rule}")
    return part._replace(form=part.form.capitalize()) if part.form.islower() else part


_BRACKET = re.compile(r"(\([^()]*\)|\[[^][]*\]|\{[^{}]*\}|<[^<>]*>)")
_DRAW = re.compile(r"\[(?:(\w+)=)?(\w+)(?:\.(\w+))?(?:!(\w+))?\]")
_RECALL = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def _parts(template: str) -> Parts:
    """Split an alternative into plain text and brackets."""
    pieces = _BRACKET.split(template)  # text and bracket in turn
    return tuple(_bracket(p) if i % 2 else p.replace("|", "\n") for i, p in enumerate(pieces) if p)


def _bracket(source: str) -> Part:
    if source.startswith("("):
        return Call(source)
    if source.startswith("<"):
        name = source[1:-1]
        return Call(name if name.islower() else f"^{name.lower()}")
    if recall := _RECALL.fullmatch(source):
        name, form = recall.groups()
        return Recall(name.lower(), form or _word_form(name))
    if draw := _DRAW.fullmatch(source):
        name, table, form, unlike = draw.groups(default="")
        form = form or _word_form(name or table)
        return Draw(table.lower(), form, name.lower(), unlike)
    raise ValueError(f"cannot read {source!r}")


def _word_form(name: str) -> str:
    """The form `word`, in the case in which the name is written."""
    return "WORD" if name.isupper() else "Word" if name[0].isupper() else "word"
