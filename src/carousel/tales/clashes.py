"""The proof that no text of a grammar has two readings.

Say that two texts clash if one begins the other. If no two alternatives of a rule can produce texts
that clash, a reader who knows what is remembered so far can tell which alternative stands at the
place he has reached, and where it ends. Alternative by alternative he finds every choice that was
made, and never a second way. `clashes` looks for exceptions.

Source: the prefix codes of Kraft 1949 and the LL grammars of Lewis and Stearns 1968, without a
bound on how far the reader looks ahead.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise

from carousel.tales.grammar import Call, Draw, Grammar, Part, Parts, Recall

_Meanings = dict[str, set[str]]  # the tables that a remembered word can come from


def clashes(grammar: Grammar) -> list[str]:
    """Name everything in which one text can begin another; none named, none ambiguous.

    Compared are the alternatives of each rule, the words of each table in each form that is drawn,
    and the words that a name can stand for in each form that is repeated. A remembered word counts
    as any that its name can stand for, so what is found harmless is harmless in every context.
    """
    slots = {part for part in _parts(grammar) if isinstance(part, Draw | Recall)}
    meanings: _Meanings = {}
    for slot in slots:
        if isinstance(slot, Draw):
            meanings.setdefault(slot.name, set()).add(slot.table)
    words = [
        f"{slot}: {one!r} begins {other!r}"
        for slot in sorted(slots, key=repr)
        for one, other in pairwise(sorted(_texts(grammar, meanings, slot)))
        if other.startswith(one)
    ]
    alternatives = [
        f"<{name}>: alternatives {i} and {j}"
        for name, rule in grammar.rules.items()
        for (i, one), (j, other) in combinations(enumerate(rule.alternatives, start=1), 2)
        if _can_clash(grammar, meanings, one, other)
    ]
    return words + alternatives


def _parts(grammar: Grammar) -> Iterator[Part]:
    for rule in grammar.rules.values():
        for alternative in rule.alternatives:
            yield from alternative


def _texts(grammar: Grammar, meanings: _Meanings, slot: Draw | Recall) -> list[str]:
    """List what a slot can say: for each word once, but for each remembered text once."""
    if isinstance(slot, Draw):
        return [word[slot.form] for word in grammar.tables[slot.table].words]
    words = [word for table in meanings[slot.name] for word in grammar.tables[table].words]
    return list({word[slot.form] for word in words})


def _can_clash(grammar: Grammar, meanings: _Meanings, one: Parts, other: Parts) -> bool:
    """Return whether some text of one alternative begins some text of the other, or the reverse."""
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        if not one or not other:
            return True
        x, y = one[0], other[0]
        if isinstance(x, str) and isinstance(y, str):
            n = min(len(x), len(y))
            if x[:n] == y[:n]:
                pairs.append((_plain(x[n:]) + one[1:], _plain(y[n:]) + other[1:]))
        elif _alike(x, y):  # what they say is equal, or parts: by induction on its length
            pairs.append((one[1:], other[1:]))
        elif isinstance(x, str):
            pairs.extend((one, option + other[1:]) for option in _options(grammar, meanings, y))
        else:
            pairs.extend((option + one[1:], other) for option in _options(grammar, meanings, x))
    return False


def _plain(text: str) -> Parts:
    return (text,) if text else ()


def _alike(x: Part, y: Part) -> bool:
    if isinstance(x, Draw) and isinstance(y, Draw):
        return (x.table, x.form) == (y.table, y.form)
    return x == y


def _options(grammar: Grammar, meanings: _Meanings, part: Part) -> list[Parts]:
    if isinstance(part, Call):
        return list(grammar.rules[part.rule].alternatives)
    assert isinstance(part, Draw | Recall)
    return [(text,) for text in _texts(grammar, meanings, part)]
