"""Rename every local variable of a file: what is anchored to the code's shape must not notice."""

import ast
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from anchors import AnchorError, Edit, Splice, edited, spliced
from shapes import Function, filled_in, locals_of, qualified

Naming = Callable[[list[str]], dict[str, str]]  # all locals of a function → a new name for each


def unheard_of(names: list[str]) -> dict[str, str]:
    """Give each variable a name that stands nowhere else."""
    return {name: f"local{k}" for k, name in enumerate(names)}


def rotated(names: list[str]) -> dict[str, str]:
    """Give each variable the name of another one of its function."""
    return dict(zip(names, names[1:] + names[:1], strict=True))


def with_other_locals(text: str, naming: Naming) -> str:
    """Return the text with every local variable and parameter renamed, its comments kept."""
    splices: list[Splice] = []
    for function in outermost(ast.parse(text)):
        names = naming(sorted(locals_of(function)))
        for node in scope(function):
            splices += renamings(node, names, text)
    return spliced(text, splices)


def renamings(node: ast.AST, names: dict[str, str], text: str) -> Iterator[Splice]:
    """Yield what a node and those below it need to have their variables renamed."""
    if isinstance(node, ast.JoinedStr):  # whole: Python 3.11 does not know where its names stand
        yield node, node, ast.unparse(filled_in(node, names, {}))
        return
    if isinstance(node, ast.Name) and node.id in names:
        yield node, node, names[node.id]
    if isinstance(node, ast.arg):
        there = span(node.lineno, node.col_offset, node.arg)
        yield there, there, names[node.arg]
    if isinstance(node, ast.ExceptHandler) and node.name:
        line = text.splitlines()[node.lineno - 1].encode()
        column = line.index(f" as {node.name}:".encode()) + len(" as ")
        there = span(node.lineno, column, node.name)
        yield there, there, names[node.name]
    for child in ast.iter_child_nodes(node):
        yield from renamings(child, names, text)


def span(line: int, column: int, name: str) -> Any:
    end = column + len(name.encode())
    return SimpleNamespace(lineno=line, col_offset=column, end_lineno=line, end_col_offset=end)


def outermost(tree: ast.Module) -> list[Function]:
    """Return the functions and methods of a file that stand in no other function."""
    functions = [function for _, function in qualified(tree)]
    inner = {id(n) for f in functions for s in f.body for n in ast.walk(s)}
    return [function for function in functions if id(function) not in inner]


def scope(function: Function) -> list[ast.AST]:
    """Return what of a function sees its variables: parameters and body, not the defaults."""
    a = function.args
    parameters = [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg]
    return [*(each for each in parameters if each), *function.body]


def shape(text: str) -> str:
    """Return a text's syntax tree with the locals numbered in the order in which they appear."""
    tree = ast.parse(text)
    for function in outermost(tree):
        order = [n for root in scope(function) for n in ast.walk(root)]
        seen = [name_of(n) for n in order]
        known = locals_of(function)
        names = {name: f"local{k}" for k, name in enumerate(dict.fromkeys(seen)) if name in known}
        for node in order:
            match node:
                case ast.Name():
                    node.id = names.get(node.id, node.id)
                case ast.arg():
                    node.arg = names[node.arg]
                case ast.ExceptHandler(name=str(name)):
                    node.name = names[name]
    return ast.dump(tree)


def name_of(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=name):
            return name
    return None


def assert_names_do_not_matter(text: str, edits: Sequence[Edit]) -> None:
    """The edits find their places whatever the locals are called, and the same fault comes out."""
    want = shape(edited(text, edits))
    for naming in (unheard_of, rotated):
        other = with_other_locals(text, naming)
        try:
            got = shape(edited(other, edits))
        except AnchorError as error:
            raise AssertionError(f"with the locals {naming.__name__}: {error}") from error
        assert got == want, f"with the locals {naming.__name__}, {edits} is another fault"
