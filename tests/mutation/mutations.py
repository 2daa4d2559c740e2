"""Every slip of one token in a function: its syntax tree with one node changed.

`mutations` changes the tree in place, yields while it is changed, and puts it back.
"""

import ast
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.MatMult, ast.Div)
OPPOSITES = {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
FIELDS = (  # of the named tuples that the reverses read: one field taken for another
    {"x", "w_ih", "b_ih", "gain"},
    {"hold", "h", "candidate"},
    {"weight", "d", "left"},
    {"source", "caches"},
    {"context", "first", "bias"},
    {"start", "stop"},
)


class Mutation(NamedTuple):
    """What stood there and what stands there now: the statement, in one line each."""

    was: str
    becomes: str

    def __str__(self) -> str:
        return f"{self.was}  →  {self.becomes}"


class Place(NamedTuple):
    """Where a node hangs in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    def get(self) -> Any:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node: Any) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutations(function: ast.FunctionDef) -> Iterator[Mutation]:
    """Yield each mutation of a function's body while the tree is in that state."""
    names = sorted({n.id for n in ast.walk(function) if isinstance(n, ast.Name) and stores(n)})
    names += [a.arg for a in (*function.args.args, *function.args.kwonlyargs)]
    keys = sorted({n.value for n in ast.walk(function) if is_key(n)})
    body = [n for n in function.body if not is_docstring(n)]
    for statement in [inner for outer in body for inner in statements(outer)]:
        for place in places(statement):
            original = place.get()
            for replacement in replacements(original, names, keys):
                was = line(statement)
                place.put(ast.copy_location(replacement, original))
                yield Mutation(was, line(statement))
                place.put(original)
    yield from deletions(function)
    yield from reassignments(function)


def reassignments(function: ast.FunctionDef) -> Iterator[Mutation]:
    """Each += made an =, and a -=."""
    for parent in ast.walk(function):
        block = getattr(parent, "body", None)
        for k, statement in enumerate(block if isinstance(block, list) else []):
            if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
                target, value = statement.target, statement.value
                for new in (ast.Assign([target], value), ast.AugAssign(target, ast.Sub(), value)):
                    block[k] = ast.copy_location(new, statement)
                    yield Mutation(line(statement), line(block[k]))
                block[k] = statement


def deletions(function: ast.FunctionDef) -> Iterator[Mutation]:
    """Each statement left out, but for the last return."""
    for parent in ast.walk(function):
        block = getattr(parent, "body", None)
        for k, statement in enumerate(block if isinstance(block, list) else []):
            if not is_docstring(statement) and not isinstance(statement, ast.Return):
                block[k] = ast.copy_location(ast.Pass(), statement)
                yield Mutation(line(statement), "(nothing)")
                block[k] = statement


def statements(outer: ast.stmt) -> Iterator[ast.stmt]:
    yield outer
    for inner in ast.iter_child_nodes(outer):
        if isinstance(inner, ast.stmt):
            yield from statements(inner)


def places(node: ast.AST) -> Iterator[Place]:
    """All places below a statement, but not those in statements inside it, nor its annotations."""
    for field, value in ast.iter_fields(node):
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or isinstance(child, ast.stmt):
                continue
            if field != "annotation" and not isinstance(child, ast.expr_context | ast.operator):
                if isinstance(child, ast.expr | ast.cmpop):
                    yield Place(node, field, index)
                yield from places(child)


def replacements(node: ast.AST, names: list[str], keys: list[str]) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(left=left, right=right):
            for operator in OPERATORS:
                if not isinstance(node.op, operator):
                    yield ast.BinOp(left, operator(), right)
            yield from (left, right)  # the other factor or term dropped
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=str(value)):
            yield from (ast.Constant(key) for key in keys if key != value)
        case ast.Name(id=name, ctx=ast.Load()) if name in names:
            yield from (ast.Name(other, ast.Load()) for other in names if other != name)
        case ast.Attribute(value=value, attr=name, ctx=ast.Load()):
            if name == "T":
                yield value
            for other in {other for fields in FIELDS if name in fields for other in fields}:
                if other != name:
                    yield ast.Attribute(value, other, ast.Load())
        case ast.Call(func=function, args=args):
            if isinstance(function, ast.Attribute) and not is_torch(function.value):
                yield function.value  # x.f(…) → x
            elif args:
                yield args[0]  # f(x, …) → x
            for k in range(len(args) - 1):
                yield ast.Call(function, swapped(args, k), node.keywords)
        case ast.Subscript(value=value):
            yield value
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) if len(elements) > 1:
            for k in range(len(elements)):
                if k + 1 < len(elements):
                    yield type(node)(swapped(elements, k), node.ctx)
                yield type(node)(elements[:k] + elements[k + 1 :], node.ctx)
        case ast.ListComp(elt=element, generators=[loop]) if loop.ifs:
            bare = ast.comprehension(loop.target, loop.iter, [], loop.is_async)
            yield ast.ListComp(element, [bare])
        case ast.cmpop() if type(node) in OPPOSITES:
            yield OPPOSITES[type(node)]()


def swapped(items: list[ast.expr], k: int) -> list[ast.expr]:
    return [*items[:k], items[k + 1], items[k], *items[k + 2 :]]


def line(statement: ast.stmt) -> str:
    """A statement in one line; of a compound one its head."""
    head = deepcopy(statement)
    if hasattr(head, "body"):
        head.body = [ast.Expr(ast.Constant(...))]
        head.orelse = []
    return " ".join(ast.unparse(ast.fix_missing_locations(head)).split()).removesuffix(" ...")


def stores(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def is_torch(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "torch"


def is_key(node: ast.AST) -> bool:
    """A weight's name, as in weights["w_hh"]."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 10


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
