"""Every slip of one token in a hand-written reverse gives wrong gradients, or says the same."""

import ast

import pytest
from catalog import MUTANTS
from equivalents import EQUIVALENTS, Equivalent
from listing import listed
from mutation_runner import functions_of, run_mutants, text_of
from mutations import Mutation, mutations
from op_questions import REVERSES, questions
from patching import executed

from anchors import Code
from carousel.verify.op_spec import OPS

FEWEST = {  # mutants of a module
    "recurrence": 1300,
    "rnn": 120,
    "gru": 1550,
    "lstm": 880,
    "lstm_variants": 4000,
    "softmax": 25,
    "cross_entropy": 50,
    "layer_norm": 180,
    "embedding": 50,
    "mlp": 250,
    "attention": 430,
    "flash_attention": 1350,
}


def listed_in(module: str) -> list[tuple[Equivalent, str, set[Mutation]]]:
    """Return each entry of a module with its function and the mutants that it lists."""
    code, entries = Code(text_of(module), f"{module}.py"), []
    for equivalent in EQUIVALENTS:
        name, function = equivalent.place.split(".")
        if name == module:
            mutants = listed(code.function(function), code.globals, equivalent)
            entries.append((equivalent, function, mutants))
    return entries


@pytest.mark.parametrize("module", REVERSES)
def test_what_survives_says_the_same_and_all_that_is_said_to_do_so_survives(module: str) -> None:
    found = [
        mutant
        for function in REVERSES[module]
        for mutant in run_mutants(module, [function], questions(module, function))
    ]
    assert len(found) >= FEWEST.get(module, 20)
    entries = listed_in(module)
    explained = {(function, mutation) for _, function, each in entries for mutation in each}
    unexplained = [
        f"{mutant.function}: {mutant.mutation}"
        for mutant in found
        if mutant.survives and (mutant.function, mutant.mutation) not in explained
    ]
    assert unexplained == []
    for equivalent, function, mutations_ in entries:
        here = [m for m in found if m.function == function and m.mutation in mutations_]
        assert {mutant.survives for mutant in here} == {True}, equivalent
        assert {mutant.mutation for mutant in here} == mutations_, equivalent


def test_each_that_is_listed_has_its_place_and_its_reason() -> None:
    for equivalent in EQUIVALENTS:
        module, function = equivalent.place.split(".")
        assert function in REVERSES[module]
        assert equivalent.reason


def test_they_are_as_many_as_the_page_says() -> None:
    assert FEWEST.keys() <= REVERSES.keys()
    assert sum(FEWEST.values()) > 9000
    assert "more than 9000" in MUTANTS


@pytest.mark.parametrize("module", REVERSES)
def test_the_true_reverse_answers_every_question(module: str) -> None:
    namespace = vars(executed(module, text_of(module)))
    for function in REVERSES[module]:
        assert all(ask(namespace) for ask in questions(module, function))


def test_every_backward_pass_of_the_ops_has_its_mutants() -> None:
    """With what the reverses call; what forward passes alone call aside."""
    for module, listed_functions in REVERSES.items():
        tree, functions = ast.parse(text_of(module)), functions_of(module).keys()
        assert (
            {name for name in functions if name.endswith("backward")}
            <= set(listed_functions)
            <= functions
        )
        called = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & functions
        private = {name for name in called if name.startswith("_")} - {"_held", "_shares"}
        assert private <= set(listed_functions)
    has_none = {"positions"}  # what turns a vector also turns its gradient back
    assert OPS.keys() - has_none == REVERSES.keys()
    assert not any("def backward" in text_of(module) for module in has_none)


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
