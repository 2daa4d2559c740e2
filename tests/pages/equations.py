"""Pages of math/ and notes/: their blocks, their equations, and blocks with a sign flipped."""

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from conftest import ROOT

PAGES = sorted(
    path
    for top in ("math", "notes")
    for path in (ROOT / top).rglob("*.md")
    if path.name != "README.md"  # whose tables repeat the labels
)
_SYBIL = Sybil([PythonCodeBlockParser()], pattern="*.md", path=str(ROOT))
_LABEL = r"\(([a-z][a-z0-9]*\.\d+)\)"
# A row of a table, or a line that introduces a displayed equation.
_DEFINED = re.compile(rf"^(?:\| {_LABEL} \||\*\*{_LABEL}\*\*)", re.MULTILINE)
_CHECKED = re.compile(rf"#[^#\n]*?((?:{_LABEL}[, ]*)+)\s*$")


class Block(NamedTuple):
    """A block of Python and the line of the page it begins on."""

    source: str
    line: int


class Checked(NamedTuple):
    """A statement of a block that says in code what equations of the page say."""

    labels: tuple[str, ...]
    statement: ast.stmt


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks, in order; they share one namespace."""
    return [Block(str(example.parsed), example.line) for example in _SYBIL.parse(page)]


def defined(page: Path) -> list[str]:
    """Return the labels of a page's equations."""
    found = _DEFINED.findall(page.read_text("utf-8"))
    return [in_table or displayed for in_table, displayed in found]


def checked(block: Block) -> list[Checked]:
    """Return the statements whose last line ends in a comment with labels."""
    lines = block.source.splitlines()
    found = []
    for statement in _statements(ast.parse(block.source)):
        if match := _CHECKED.search(lines[(statement.end_lineno or 1) - 1]):
            found.append(Checked(tuple(re.findall(_LABEL, match[1])), statement))
    return found


def flipped(block: Block, statement: ast.stmt) -> Iterator[str]:
    """Yield the block with one sign of a statement flipped, each in turn: + and - between terms,
    a - before one, and where there is none, the whole right-hand side."""
    tree = ast.parse(block.source)
    (place,) = (n for n, s in enumerate(_statements(tree)) if s.lineno == statement.lineno)
    signs = len(list(_signs(statement)))
    for number in range(max(1, signs)):
        changed = copy.deepcopy(tree)
        own = list(_statements(changed))[place]
        if signs:
            _flip(list(_signs(own))[number])
        else:
            _negate(own)
        yield ast.unparse(ast.fix_missing_locations(changed))


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements that hold no others, in order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            yield node


def _signs(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what has a sign, but not within indices, keywords, or as a number's own."""
    is_sum = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub)
    is_minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    if is_sum or (is_minus and not isinstance(node.operand, ast.Constant)):  # type: ignore[attr-defined]
        yield node
    for name, value in ast.iter_fields(node):
        if (isinstance(node, ast.Subscript) and name == "slice") or name in ("keywords", "targets"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _signs(child)


def _flip(node: Any) -> None:
    if isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    else:
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()


def _negate(statement: Any) -> None:
    """Put a minus before what is assigned, or what stands last in a comparison or a call."""
    match statement:
        case ast.Assert(test=ast.Compare() as compared):
            compared.comparators[-1] = _minus(compared.comparators[-1])
        case ast.Assert(test=ast.Call() as call) | ast.Expr(value=ast.Call() as call):
            last = min(1, len(call.args) - 1)
            call.args[last] = _minus(call.args[last])
        case _:
            statement.value = _minus(statement.value)


def _minus(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), node)
