"""Mutants of the hand-written reverses, and which of them survive a look at their gradients."""

import ast
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mutations import Mutation, mutations
from patching import executed
from torch import Tensor

Namespace = dict[str, Any]
Ask = Callable[[Namespace], bool]  # whether what stands in a namespace answers a question rightly


def is_right(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> bool:
    return got.keys() == want.keys() and all(
        got[name].shape == d.shape and (got[name] - d).norm() <= 1e-9 * d.norm()
        for name, d in want.items()
    )


class Mutant(NamedTuple):
    """A mutation, and whether the right gradients still come out."""

    module: str
    function: str
    mutation: Mutation
    survives: bool


def text_of(module: str) -> str:
    return inspect.getsource(importlib.import_module(f"carousel.ops.{module}"))


def functions_of(module: str) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in ast.parse(text_of(module)).body if isinstance(n, ast.FunctionDef)}


def run_mutants(module: str, reverses: list[str], asked: list[Ask]) -> Iterator[Mutant]:
    """Make every mutant of a module's reverses, one at a time, and ask it."""
    functions = functions_of(module)
    namespace = vars(executed(module, text_of(module)))
    for name in reverses:
        true = namespace[name]
        for mutation in mutations(functions[name]):
            if mutation.was != mutation.becomes:  # as where two equal entries of a list are swapped
                yield Mutant(module, name, mutation, survives(functions[name], namespace, asked))
        namespace[name] = true
    assert all(ask(namespace) for ask in asked), "a mutant has changed what is asked"


def survives(function: ast.FunctionDef, namespace: Namespace, asked: list[Ask]) -> bool:
    """Put a function in the place of its namesake, and ask. What breaks down does not survive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a deprecated use of a tensor is no answer
        try:
            exec(compiled(function), namespace)
            return all(ask(namespace) for ask in asked)
        except Exception:
            return False


def compiled(function: ast.FunctionDef) -> Any:
    module = ast.Module([function], type_ignores=[])
    return compile(ast.fix_missing_locations(module), "mutant", "exec")
