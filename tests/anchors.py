"""Find a place in the code by its shape, whatever its local variables are called, and change it.

An edit names a function and shows the code that stands there, in Python. A name in it that the file
neither defines at its top level nor takes from the builtins stands for any local variable of that
function: the same name for the same variable, two names for two. `_` (also `_1`, `_2`, …) stands
for any expression. Everything else counts as it is written: attributes, calls, globals, keywords,
constants, operators. Layout and comments do not count, except for the label of an equation.
"""

import ast
import builtins
import io
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from shapes import (
    ANY,
    Function,
    Match,
    blocks,
    expressions,
    filled_in,
    locals_of,
    matches,
    names_at_the_top,
    names_in,
    parsed,
    qualified,
)


class AnchorError(LookupError):
    """An edit does not say which place it means: there is none, or there are several."""


class Edit(NamedTuple):
    """A change of one place.

    Attributes:
        function: Its qualified name, as "Layer.forward".
        was: The expression or the statements that stand there.
        becomes: What is put in their place, with the same names. A name that is only assigned
            here is a new variable. Nothing: the statement is left out.
        given: More code that must stand in the function, with the same names: it says which
            variables they are, where `was` alone fits several places.
        label: An equation's label in a comment beside the place, as "lstm.5".
    """

    function: str
    was: str
    becomes: str
    given: str = ""
    label: str = ""


class Code:
    """The text of a file and its syntax tree."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.tree = ast.parse(text)
        self.globals = names_at_the_top(self.tree) | set(dir(builtins))
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self.comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}

    def function(self, name: str) -> Function:
        """Return a function by its qualified name."""
        functions = dict(qualified(self.tree))
        if name not in functions:
            raise AnchorError(f"{self.name} has no function {name}; it has {', '.join(functions)}")
        return functions[name]


def edited(text: str, edits: Sequence[Edit], name: str = "the code") -> str:
    """Return the text with each edit made; all else keeps its layout and its comments.

    Raises:
        AnchorError: If one does not fit exactly one place, or two change the same place.
    """
    code = Code(text, name)
    return spliced(text, [replacement(code, edit) for edit in edits])


Splice = tuple[Any, Any, str]  # the first and the last node that go, and the text that comes


def spliced(text: str, splices: Sequence[Splice]) -> str:
    """Return the text with the nodes of its tree replaced."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]  # columns count bytes
    starts = [0, *accumulate(map(len, lines))]
    data, before = b"".join(lines), len(text.encode())
    for first, last, new in sorted(splices, key=lambda s: (-s[0].lineno, -s[0].col_offset)):
        begin = starts[first.lineno - 1] + first.col_offset
        end = starts[last.end_lineno - 1] + last.end_col_offset
        if end > before:
            raise AnchorError(f"two edits change the same place: {new}")
        data, before = data[:begin] + new.encode() + data[end:], begin
    return data.decode()


def replacement(code: Code, edit: Edit) -> Splice:
    """Return what an edit takes away, and what it puts there."""
    function = code.function(edit.function)
    match = only_match(code, edit, function)
    new = parsed(edit.becomes or "pass")
    names = new_names(code, edit, function, match, new)
    first, last = match.nodes[0], match.nodes[-1]
    if isinstance(first, ast.expr):
        (statement,) = new
        return first, last, f"({ast.unparse(filled_in(statement.value, names, match.wild))})"
    text = "\n".join(ast.unparse(filled_in(statement, names, match.wild)) for statement in new)
    indent = " " * first.col_offset
    return first, last, textwrap.indent(text, indent).removeprefix(indent)


def only_match(code: Code, edit: Edit, function: Function) -> Match:
    """Return the one place that an edit means."""
    pattern: ast.expr | list[ast.stmt] = pattern_of(edit.was, edit.becomes)
    where = f"{code.name}, {edit.function}"
    shown = " ".join(edit.was.split())
    fits = list(matches(function, pattern, code.globals))
    if not fits:
        raise AnchorError(f"nothing in {where} has the shape of: {shown}")
    if edit.label:
        fits = [match for match in fits if has_label(code, match, edit.label)]
        if not fits:
            raise AnchorError(f"nothing in {where} beside ({edit.label}) has the shape of: {shown}")
    fits = [
        each for match in fits for each in with_given(function, edit.given, code.globals, match)
    ]
    if not fits:
        raise AnchorError(f"{where} has the shape of: {shown}, but not with what is given")
    read = {n.id for n in names_in(parsed(edit.becomes or "pass"))}
    kinds = {(m.nodes, tuple(sorted((k, m.names[k]) for k in read & m.names.keys()))) for m in fits}
    places = sorted({(m.nodes[0].lineno, ast.unparse(m.nodes[0])) for m in fits})
    if len(kinds) > 1:
        lines = "; ".join(f"line {line}: {text}" for line, text in places)
        count = f"{len(kinds)} ways" if len(places) == 1 else f"{len(places)} places"
        raise AnchorError(f"{shown} fits {where} in {count} ({lines}): add `given` or a label")
    return fits[0]


def pattern_of(was: str, becomes: str) -> ast.expr | list[ast.stmt]:
    """Parse a pattern: an expression, if one takes its place too, else statements."""
    body, new = parsed(was), parsed(becomes or "pass")
    is_expression = all(len(b) == 1 and isinstance(b[0], ast.Expr) for b in (body, new))
    return body[0].value if is_expression else body


def with_given(function: Function, given: str, globals_: set[str], match: Match) -> Iterator[Match]:
    """Yield a match with the names that further patterns fix, in every way that they fit."""
    ways = [match]
    for statement in parsed(given):
        pattern = statement.value if isinstance(statement, ast.Expr) else [statement]
        ways = [
            way._replace(names=more.names, wild=match.wild)
            for way in ways
            for more in matches(function, pattern, globals_, way.names)
        ]
    yield from ways


def new_names(
    code: Code, edit: Edit, function: Function, match: Match, new: list[ast.stmt]
) -> dict[str, str]:
    """Return what each local name of the new code is called in the file."""
    names, used = dict(match.names), locals_of(function) | code.globals
    read, stored = read_and_stored(new)
    where = f"{code.name}, {edit.function}"
    for name in read | stored:
        if name in match.names:
            continue
        if name in read - code.globals - match.wild.keys():
            message = f"which variable is {name}? neither `was` nor `given` has it"
            raise AnchorError(f"{where}: {message}: {edit.becomes}")
        if name in stored and not ANY.fullmatch(name):
            if name not in {n.id for n in names_in(new) if isinstance(n.ctx, ast.Load)}:
                message = f"the new variable {name} is not read; `given` may say which it is"
                raise AnchorError(f"{where}: {message}: {edit.becomes}")
            fresh = name
            while fresh in used:
                fresh += "_"
            names[name] = fresh
    return names


def read_and_stored(body: Sequence[ast.stmt]) -> tuple[set[str], set[str]]:
    """Return the names that statements read before they assign them, and those that they assign."""
    read, stored = set(), set()
    for statement in body:
        nodes = [n for e in expressions(statement) for n in ast.walk(e)]
        inner = {n.arg for n in nodes if isinstance(n, ast.arg)}
        for node in nodes:
            for part in getattr(node, "generators", []):
                inner |= {n.id for n in names_in([part.target])}
        loads = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        if isinstance(statement, ast.AugAssign):
            loads |= {n.id for n in names_in([statement.target])}
        read |= loads - stored - inner
        stored |= inner | {
            n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for block in blocks(statement):
            if block is not body:
                more, new = read_and_stored(block)
                read |= more - stored
                stored |= new
    return read, stored


def has_label(code: Code, match: Match, label: str) -> bool:
    """Tell whether a comment beside a place, or beside its statement, has an equation's label."""
    statement: Any = match.statement
    last = match.nodes[-1].end_lineno
    body = getattr(statement, "body", None)
    end = max(last, body[0].lineno - 1 if body else statement.end_lineno)
    lines = range(statement.lineno, end + 1)
    return any(f"({label})" in code.comments.get(line, "") for line in lines)
