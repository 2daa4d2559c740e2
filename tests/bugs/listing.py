"""Which mutants of a function an entry of equivalents.py lists."""

import ast
from collections.abc import Mapping
from copy import deepcopy

from equivalents import Equivalent
from mutations import Mutation, line, places

from anchors import AnchorError, tied
from shapes import Function, matches, parsed


def listed(function: Function, globals_: set[str], equivalent: Equivalent) -> set[Mutation]:
    """Return the listed mutants: the expression, wherever it stands, became one of those listed.

    Raises:
        AnchorError: If the expression does not stand in the function with what is given.
    """
    pattern, found = expression(equivalent.was), set()
    for match in matches(function, pattern, globals_):
        for way in tied(function, equivalent.given, globals_, match):
            for place in places(way.statement):
                if (original := place.get()) is way.nodes[0]:
                    was = line(way.statement)
                    for text in equivalent.becomes:
                        place.put(filled_in(expression(text), way.names, way.wild, globals_))
                        found.add(Mutation(was, line(way.statement)))
                    place.put(original)
    if not found:
        raise AnchorError(f"nothing in {equivalent.place} has the shape of: {equivalent.was}")
    return found


def expression(text: str) -> ast.expr:
    (statement,) = parsed(text)
    assert isinstance(statement, ast.Expr), text
    return statement.value


def filled_in(
    node: ast.expr, names: Mapping[str, str], wild: Mapping[str, ast.expr], globals_: set[str]
) -> ast.expr:
    """Put a function's variables in place of the names of a pattern."""

    class Filler(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            if name.id in wild:
                return deepcopy(wild[name.id])
            if name.id not in names.keys() | globals_:
                raise AnchorError(f"which variable is {name.id}? neither was nor given has it")
            return ast.Name(names.get(name.id, name.id), name.ctx)

    return Filler().visit(deepcopy(node))
