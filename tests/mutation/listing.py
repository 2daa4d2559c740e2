"""Which mutants of a function an entry of equivalents.py lists."""

import ast

from equivalents import Equivalent
from mutations import Mutation, line, places

from anchors import AnchorError, with_given
from shapes import Function, Match, filled_in, matches, names_in, parsed


def listed(function: Function, globals_: set[str], equivalent: Equivalent) -> set[Mutation]:
    """Return the listed mutants: the expression, wherever it stands, became one of those listed.

    Raises:
        AnchorError: If the expression does not stand in the function with what is given.
    """
    pattern, found = expression(equivalent.was), set()
    for match in matches(function, pattern, globals_):
        for way in with_given(function, equivalent.given, globals_, match):
            for place in places(way.statement):
                if (original := place.get()) is way.nodes[0]:
                    was = line(way.statement)
                    for text in equivalent.becomes:
                        new = expression(text)
                        if unknown := {n.id for n in names_in([new])} - known(way, globals_):
                            raise AnchorError(f"which variable is {unknown}, in {text}?")
                        place.put(filled_in(new, way.names, way.wild))
                        found.add(Mutation(was, line(way.statement)))
                    place.put(original)
    if not found:
        raise AnchorError(f"nothing in {equivalent.place} has the shape of: {equivalent.was}")
    return found


def known(way: Match, globals_: set[str]) -> set[str]:
    return way.names.keys() | way.wild.keys() | globals_


def expression(text: str) -> ast.expr:
    (statement,) = parsed(text)
    assert isinstance(statement, ast.Expr), text
    return statement.value
