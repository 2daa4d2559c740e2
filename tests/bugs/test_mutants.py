"""Every slip of one token in a hand-written reverse gives wrong gradients, or says the same."""

import ast
import inspect
from functools import cache

import pytest
from equivalents import EQUIVALENTS, Equivalent
from hunting import REVERSES, Mutant, hunt, questions
from mutations import mutations

from recurrences import OURS, executed

FEWEST = {"layer_norm": 60, "rnn": 120}  # of a module's mutants; of the others
FEWEST_OF_OTHERS = 1000


@cache
def mutants(module: str) -> list[Mutant]:
    return list(hunt(module))


def is_listed(mutant: Mutant, equivalent: Equivalent) -> bool:
    """The passage, wherever it stands in the statement, became one of those listed."""
    pieces = mutant.mutation.was.split(equivalent.was)
    return f"{mutant.module}.{mutant.function}" == equivalent.place and any(
        equivalent.was.join(pieces[:k]) + new + equivalent.was.join(pieces[k:])
        == mutant.mutation.becomes
        for k in range(1, len(pieces))
        for new in equivalent.becomes
    )


@pytest.mark.parametrize("module", REVERSES)
def test_only_what_says_the_same_survives(module: str) -> None:
    found = mutants(module)
    assert len(found) >= FEWEST.get(module, FEWEST_OF_OTHERS)
    unexplained = [
        f"{mutant.function}: {mutant.mutation}"
        for mutant in found
        if mutant.survives and not any(is_listed(mutant, e) for e in EQUIVALENTS)
    ]
    assert unexplained == []


def test_they_are_as_many_as_the_page_says() -> None:
    assert sum(len(mutants(module)) for module in REVERSES) > 7000


@pytest.mark.parametrize("equivalent", EQUIVALENTS, ids=lambda e: f"{e.place}: {e.becomes[0]}")
def test_each_that_is_listed_was_made_and_survives(equivalent: Equivalent) -> None:
    listed = [m for m in mutants(equivalent.place.split(".")[0]) if is_listed(m, equivalent)]
    assert {m.survives for m in listed} == {True}
    assert len(listed) >= len(equivalent.becomes)
    assert equivalent.reason


@pytest.mark.parametrize("module", REVERSES)
def test_the_true_reverse_answers_every_question(module: str) -> None:
    namespace = vars(executed(module, inspect.getsource(OURS[module])))
    assert all(ask(namespace) for ask in questions(module))


def test_every_reverse_of_the_ops_is_hunted() -> None:
    """With what the loop's reverse calls."""
    for module, hunted in REVERSES.items():
        tree = ast.parse(inspect.getsource(OURS[module]))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {name for name in functions if name.endswith("backward")} <= set(hunted) <= functions
        called = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & functions
        private = {name for name in called if name.startswith("_")} - {"_held"}  # forward alone
        assert private <= set(hunted)
    assert OURS.keys() == REVERSES.keys()


def test_the_maker_of_mutants_knows_every_kind_of_slip() -> None:
    text = "def f(a, w, d):\n    b = a - 1\n    return d.T @ b[0] if 'k' in w else (a, b)"
    (function,) = ast.parse(text).body
    before = ast.dump(function)
    made = {mutation.becomes for mutation in mutations(function)}
    assert ast.dump(function) == before, "the tree is put back"
    whole = "return d.T @ b[0] if 'k' in w else (a, b)"
    assert made >= {
        "b = a + 1",  # another operator
        "b = a",  # a factor or term dropped
        "b = a - 2",  # a number
        "b = d - 1",  # a name
        "(nothing)",  # a statement left out
        whole.replace("d.T", "d"),
        whole.replace("b[0]", "b[1]"),
        whole.replace("b[0]", "b"),
        whole.replace("'k' in", "'k' not in"),
        whole.replace("(a, b)", "(b, a)"),
        whole.replace("(a, b)", "(a,)"),
        "return d.T @ b[0]",
        "return (a, b)",
    }
