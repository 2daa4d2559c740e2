"""The entropy of a grammar and the mean length of its texts: exact, without drawing any.

A grammar is a branching process. Let b[r] be the expected -log p of the choices in one alternative
of rule r, and M[r, s] the expected number of calls of rule s in it. The expected -log p of whole
texts, n, counts both: n = b + M n, so n = (I - M)^-1 b; likewise for the number of characters.
These means exist if the spectral radius of M is below 1.

A rule that repeats a remembered word is taken once for each way in which the word can have been
drawn, since that decides how long the rule's texts are. Apart from the word that `!` leaves out,
which is averaged over, no probability depends on what is remembered, so expectations add up.

Source: Soule 1974, Entropies of Probabilistic Grammars (Information and Control 25); Wetherell
1980, Probabilistic Languages (ACM Computing Surveys 12), for the branching process.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.text.tales_grammar import Call, Draw, Grammar, Parts, Recall

Vector = NDArray[np.float64]


class Expectation(NamedTuple):
    """Means over the texts of a grammar.

    Attributes:
        nll: Negative log-likelihood, in nats: the entropy of the grammar.
        characters: Length.
    """

    nll: float
    characters: float


class _Law(NamedTuple):
    """How a word is drawn: from a table, and never what another word is."""

    table: str
    unlike: "_Law | None"


_Scope = tuple[tuple[str, _Law], ...]  # the laws of remembered words, by name in order
_State = tuple[str, _Scope]  # a rule, and what it may repeat


def expectation(grammar: Grammar) -> Expectation:
    """Compute the exact mean of -log p and of the length of a text."""
    states, calls, own = _branching(grammar)
    totals = np.linalg.solve(np.eye(len(states)) - calls, own)
    return Expectation(*map(float, totals[0]))


def growth(grammar: Grammar) -> float:
    """Return the spectral radius of M: below 1, texts end and their mean length is finite."""
    _, calls, _ = _branching(grammar)
    return float(np.abs(np.linalg.eigvals(calls)).max())


def _branching(grammar: Grammar) -> tuple[list[_State], Vector, Vector]:
    """Return the states, M of shape (states, states), and b of shape (states, 2)."""
    needs = _needs(grammar)

    @cache
    def measure(law: _Law, form: str) -> Expectation:
        return _measure(grammar, law, form)

    def reach(rule: str, scope: dict[str, _Law]) -> _State:
        return rule, tuple((name, scope[name]) for name in sorted(needs[rule]))

    states = [reach(grammar.start, {})]
    places = {states[0]: 0}
    rows: list[dict[int, float]] = []
    own: list[tuple[float, float]] = []
    for rule_name, known in states:  # grows while it is walked
        rule = grammar.rules[rule_name]
        weights = np.array(rule.choice.weights) / rule.choice.cumulative[-1]
        nll = float(weights @ np.array(rule.choice.costs))
        characters = 0.0
        row: dict[int, float] = {}
        for probability, alternative in zip(weights, rule.alternatives, strict=True):
            scope = dict(known)
            for part in alternative:
                if isinstance(part, str):
                    characters += probability * len(part)
                elif isinstance(part, Recall):
                    characters += probability * measure(scope[part.name], part.form).characters
                elif isinstance(part, Draw):
                    law = _Law(part.table, scope[part.unlike] if part.unlike else None)
                    nll += probability * measure(law, part.form).nll
                    characters += probability * measure(law, part.form).characters
                    scope[part.name] = law
                else:
                    state = reach(part.rule, scope)
                    if state not in places:
                        places[state] = len(states)
                        states.append(state)
                    row[places[state]] = row.get(places[state], 0.0) + probability
        rows.append(row)
        own.append((nll, characters))
    calls = np.zeros((len(states), len(states)))
    for place, row in enumerate(rows):
        calls[place, list(row)] = list(row.values())
    return states, calls, np.array(own)


def _needs(grammar: Grammar) -> dict[str, frozenset[str]]:
    """Find the names that each rule may repeat though it does not draw them itself."""
    needs: dict[str, frozenset[str]] = dict.fromkeys(grammar.rules, frozenset())
    while True:
        found = {
            name: frozenset[str]().union(*(_unbound(parts, needs) for parts in rule.alternatives))
            for name, rule in grammar.rules.items()
        }
        if found == needs:
            return needs
        needs = found


def _unbound(parts: Parts, needs: dict[str, frozenset[str]]) -> set[str]:
    drawn: set[str] = set()
    unbound: set[str] = set()
    for part in parts:
        if isinstance(part, Recall):
            unbound |= {part.name} - drawn
        elif isinstance(part, Call):
            unbound |= needs[part.rule] - drawn
        elif isinstance(part, Draw):
            unbound |= {part.unlike} - drawn - {""}
            drawn.add(part.name)
    return unbound


def _given(grammar: Grammar, law: _Law) -> tuple[Vector, Vector]:
    """Return the chances of each case (C,), and those of each word in each case (C, words).

    A case is what the left-out word is; if none is left out, there is one case.
    """
    weights = np.array(grammar.tables[law.table].choice.weights, dtype=np.float64)
    if law.unlike is None:
        return np.ones(1), weights[None] / weights.sum()
    if law.unlike.table != law.table:
        raise ValueError(f"{law.table} cannot leave out a word of {law.unlike.table}")
    cases = _marginal(grammar, law.unlike)
    left = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
    return cases, left / left.sum(axis=1, keepdims=True)


def _marginal(grammar: Grammar, law: _Law) -> Vector:
    cases, words = _given(grammar, law)
    return cases @ words


def _measure(grammar: Grammar, law: _Law, form: str) -> Expectation:
    """Give the entropy of a draw and the mean length of one form of the drawn word."""
    cases, words = _given(grammar, law)
    costs = -np.log(words, where=words > 0, out=np.zeros_like(words))
    lengths = np.array([len(word[form]) for word in grammar.tables[law.table].words])
    return Expectation(float(cases @ (words * costs).sum(axis=1)), float(cases @ words @ lengths))
