"""A rename of local variables moves no planted fault and no listed mutant."""

import ast
import importlib
import inspect
from functools import cache

import pytest
from equivalents import EQUIVALENTS, Equivalent
from fault import Fault
from listing import listed
from mutations import Mutation, mutations
from patching import executed
from suites import BLOCKS, LAYERS, SUITES, faults_of

from anchors import Code
from carousel.verify.op_spec import OPS
from op_checks import seers
from op_trials import recurrent
from renaming import (
    Naming,
    assert_names_do_not_matter,
    outermost,
    rotated,
    unheard_of,
    with_other_locals,
)
from shapes import locals_of

NAMINGS = [unheard_of, rotated]
FAULTS = [
    (f"carousel.{'nn' if suite in (LAYERS, BLOCKS) else 'ops'}.{fault.module}", fault)
    for suite in SUITES
    for fault in faults_of(suite)
]


def source_of(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))


@cache
def mutants(module: str, function: str, naming: Naming) -> set[Mutation]:
    text = with_other_locals(source_of(f"carousel.ops.{module}"), naming)
    return set(mutations(Code(text, module).function(function)))


@pytest.mark.parametrize(("module", "fault"), FAULTS, ids=[e.title for _, e in FAULTS])
def test_a_fault_is_the_same_whatever_the_locals_are_called(module: str, fault: Fault) -> None:
    assert_names_do_not_matter(source_of(module), fault.edits)


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_local_of_the_lstm_is_renamed_and_it_computes_the_same(naming: Naming) -> None:
    """Else the test above would show nothing."""
    true = source_of("carousel.ops.lstm")
    text = with_other_locals(true, naming)
    before, after = (outermost(ast.parse(each)) for each in (true, text))
    assert [f.name for f in before] == [f.name for f in after] == ["step", "step_backward"]
    for old, new in zip(before, after, strict=True):
        assert len(locals_of(old)) == len(locals_of(new)) >= 16
        pairs = zip(ast.walk(old), ast.walk(new), strict=True)
        named = [(a, b) for a, b in pairs if isinstance(a, ast.Name) and a.id in locals_of(old)]
        assert named
        assert all(a.id != b.id for a, b in named)
    code = OPS | {"lstm": executed("lstm", text)}
    for name in ("lstm", "lstm_peephole_projection"):
        assert seers(code, recurrent(name, masked=name == "lstm")) == set()


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("equivalent", EQUIVALENTS, ids=lambda e: f"{e.place} {e.was}")
def test_the_same_mutants_are_listed_whatever_the_locals_are_called(
    equivalent: Equivalent, naming: Naming
) -> None:
    module, name = equivalent.place.split(".")
    text = source_of(f"carousel.ops.{module}")
    code, other = Code(text, module), Code(with_other_locals(text, naming), module)
    function = other.function(name)
    renamed = listed(function, other.globals, equivalent)
    assert len(renamed) == len(listed(code.function(name), code.globals, equivalent))
    assert renamed <= mutants(module, name, naming)
