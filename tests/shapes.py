"""Patterns of code: which places in a function have a shape, whatever its variables are called."""

import ast
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
ANY = re.compile(r"_\d*")
IGNORED = {"ctx", "type_comment", "kind"}


class Match(NamedTuple):
    """Nodes that fit a pattern: one expression, or statements in a row.

    Attributes:
        nodes: The nodes.
        statement: The statement that they are part of, or the first of them.
        names: The local variable that each free name of the pattern stands for.
        wild: The expression that each wildcard stands for.
    """

    nodes: tuple[ast.AST, ...]
    statement: ast.stmt
    names: Mapping[str, str]
    wild: Mapping[str, ast.expr]


def matches(
    function: Function,
    pattern: ast.expr | list[ast.stmt],
    globals_: set[str],
    names: Mapping[str, str] | None = None,
) -> Iterator[Match]:
    """Yield each place in a function's body that fits a pattern."""
    unify = unifier(globals_, locals_of(function))
    for block in blocks(function):
        for k, statement in enumerate(block):
            if isinstance(pattern, list):
                run = block[k : k + len(pattern)]
                if len(run) == len(pattern) and (fit := unify(pattern, run, (names or {}, {}))):
                    yield Match(tuple(run), statement, *fit)
                continue
            for node in expressions(statement):
                if fit := unify(pattern, node, (names or {}, {})):
                    yield Match((node,), statement, *fit)


Fit = tuple[Mapping[str, str], Mapping[str, ast.expr]]


def unifier(globals_: set[str], local: set[str]) -> Callable[[Any, Any, Fit], Fit | None]:
    """Return a function that extends a fit so that a pattern is a piece of code, if it can be."""

    def name(pattern: str, there: str, fit: Fit) -> Fit | None:
        names, wild = fit
        if pattern in globals_:
            return fit if pattern == there else None
        if pattern in names:
            return fit if names[pattern] == there else None
        if there not in local or there in names.values():
            return None
        return {**names, pattern: there}, wild

    def unify(pattern: Any, there: Any, fit: Fit) -> Fit | None:
        if isinstance(pattern, ast.Name) and ANY.fullmatch(pattern.id):
            names, wild = fit
            if pattern.id in wild:
                return fit if ast.dump(wild[pattern.id]) == ast.dump(there) else None
            return (names, {**wild, pattern.id: there}) if isinstance(there, ast.expr) else None
        if type(pattern) is not type(there):
            return None
        if isinstance(pattern, ast.Name):
            return name(pattern.id, there.id, fit)
        if isinstance(pattern, list):
            if len(pattern) != len(there):
                return None
            for one, other in zip(pattern, there, strict=True):
                if (extended := unify(one, other, fit)) is None:
                    return None
                fit = extended
            return fit
        if not isinstance(pattern, ast.AST):
            return fit if pattern == there else None
        for field, value in ast.iter_fields(pattern):
            if field in IGNORED:
                continue
            is_local = isinstance(pattern, ast.arg | ast.ExceptHandler) and isinstance(value, str)
            other = getattr(there, field)
            if is_local and isinstance(other, str):
                extended = name(value, other, fit)
            else:
                extended = unify(value, other, fit)
            if extended is None:
                return None
            fit = extended
        return fit

    return unify


def filled_in(node: Any, names: Mapping[str, str], wild: Mapping[str, ast.expr]) -> Any:
    """Return a copy of a pattern with variables for its names and expressions for its wildcards."""

    class Filler(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            if name.id in wild:
                return deepcopy(wild[name.id])
            return ast.Name(names.get(name.id, name.id), name.ctx)

        def visit_arg(self, argument: ast.arg) -> ast.arg:
            return ast.arg(names.get(argument.arg, argument.arg))

    return ast.fix_missing_locations(Filler().visit(deepcopy(node)))


def parsed(text: str) -> list[ast.stmt]:
    return ast.parse(textwrap.dedent(text)).body


def names_in(trees: Sequence[ast.AST]) -> list[ast.Name]:
    return [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Name)]


def locals_of(function: Function) -> set[str]:
    """Return the names of a function's variables, with those of what is nested in it."""
    nodes = list(ast.walk(function))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in nodes if isinstance(n, ast.ExceptHandler) and n.name}
    return names | {n.arg for n in nodes if isinstance(n, ast.arg)}


def names_at_the_top(tree: ast.Module) -> set[str]:
    """Return the names that a file defines or imports outside its functions and classes."""
    names, left = set(), list(tree.body)
    while left:
        node: Any = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            is_scope = isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp)
            if not is_scope and not isinstance(node, ast.GeneratorExp):
                left += ast.iter_child_nodes(node)
    return names


def qualified(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield every function below a node with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from qualified(child, f"{prefix}{child.name}." if inner else prefix)


def blocks(function: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield each list of statements in a function."""
    for node in ast.walk(function):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def expressions(statement: ast.AST) -> Iterator[ast.expr]:
    """Yield each expression of a statement, but not those of the statements inside it.

    Nor those inside an f-string: Python 3.11 does not know where they stand.
    """
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield child
        if not isinstance(child, ast.stmt | ast.JoinedStr):
            yield from expressions(child)
