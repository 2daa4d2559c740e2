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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.tales.grammar import Call, Draw, Grammar, Parts, Recall

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


_State = tuple[str, tuple[tuple[str, _Law], ...]]  # a rule, and the laws of what it may repeat


class _Account(NamedTuple):
    """The mean size of one text of a rule, apart from the rules it calls."""

    own: Expectation
    calls: dict[_State, float]


def expectation(grammar: Grammar) -> Expectation:
    """Compute the exact mean of -log p and of the length of a text."""
    calls, own = _branching(grammar)
    totals = np.linalg.solve(np.eye(len(calls)) - calls, own)
    return Expectation(*map(float, totals[0]))


def growth(grammar: Grammar) -> float:
    """Return the spectral radius of M: below 1, texts end and their mean length is finite."""
    calls, _ = _branching(grammar)
    return float(np.abs(np.linalg.eigvals(calls)).max())


def _branching(grammar: Grammar) -> tuple[Vector, Vector]:
    """Return M, of shape (states, states), and b, of shape (states, 2); the first state starts."""
    needs = _needs(grammar)
    places: dict[_State, int] = {_state(grammar.start, {}, needs): 0}
    accounts: list[_Account] = []
    while len(accounts) < len(places):
        account = _account(grammar, needs, list(places)[len(accounts)])
        accounts.append(account)
        for state in account.calls:
            places.setdefault(state, len(places))
    calls = np.zeros((len(places), len(places)))
    for place, account in enumerate(accounts):
        for state, times in account.calls.items():
            calls[place, places[state]] = times
    return calls, np.array([account.own for account in accounts])


def _state(rule: str, scope: dict[str, _Law], needs: dict[str, frozenset[str]]) -> _State:
    return rule, tuple((name, scope[name]) for name in sorted(needs[rule]))


def _account(grammar: Grammar, needs: dict[str, frozenset[str]], state: _State) -> _Account:
    name, known = state
    choice, alternatives = grammar.rules[name]
    nll, characters = 0.0, 0.0
    calls: dict[_State, float] = {}
    for weight, cost, alternative in zip(choice.weights, choice.costs, alternatives, strict=True):
        p = weight / choice.cumulative[-1]
        nll += p * cost
        scope = dict(known)
        for part in alternative:
            if isinstance(part, str):
                characters += p * len(part)
            elif isinstance(part, Recall):
                characters += p * _draw(grammar, scope[part.name], part.form).characters
            elif isinstance(part, Draw):
                law = _Law(part.table, scope[part.unlike] if part.unlike else None)
                nll += p * _draw(grammar, law, part.form).nll
                characters += p * _draw(grammar, law, part.form).characters
                scope[part.name] = law
            else:
                called = _state(part.rule, scope, needs)
                calls[called] = calls.get(called, 0.0) + p
    return _Account(Expectation(nll, characters), calls)


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


def _draw(grammar: Grammar, law: _Law, form: str) -> Expectation:
    """Give the entropy of a draw and the mean length of one form of the drawn word."""
    cases, words = _given(grammar, law)
    costs = -np.log(words, where=words > 0, out=np.zeros_like(words))
    lengths = np.array([len(word[form]) for word in grammar.tables[law.table].words])
    return Expectation(float(cases @ (words * costs).sum(axis=1)), float(cases @ words @ lengths))
