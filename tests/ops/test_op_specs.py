"""No op is without an OpSpec; those that are no recurrence against torch, definition and time."""

import inspect
import pkgutil
import sys
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest
import torch

import carousel.ops
from carousel.verify.op_spec import OPS, Ops, backward, draw_case, draw_cotangents
from carousel.verify.op_spec import forward as forward_of
from carousel.verify.op_specs import OP_SPECS
from carousel.verify.rows import ROWS
from op_checks import checks_of, matches_torch
from op_trials import FUNCTIONS, TRIALS, Trial, with_padding

HAVE_NO_REVERSE = {"sampling"}


def reverses(ops: Ops) -> dict[str, CodeType]:
    """Return the public backward passes of modules, and what of them only families name."""
    return {
        f"{module}.{name}": inspect.unwrap(value).__code__  # below the checks of shapes
        for module, of in ops.items()
        for name, value in vars(of).items()
        if inspect.isfunction(value) and value.__module__ == of.__name__
        if name.endswith("backward") and not name.startswith("_")
    }


def run_by(specs: Any) -> set[CodeType]:
    """Return what runs while every spec goes forward and back once."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    cases = [draw_case(spec, 1) for spec in specs]
    sys.setprofile(note)
    try:
        for case in cases:
            outputs, trace = forward_of(case)
            backward(case, draw_cotangents(outputs, 1), trace)
    finally:
        sys.setprofile(None)
    return seen


def without_spec(ops: Ops, specs: Any) -> set[str]:
    seen = run_by(specs)
    return {name for name, code in reverses(ops).items() if code not in seen}


def test_every_module_of_ops_has_specs_or_no_reverse() -> None:
    modules = {module.name for module in pkgutil.iter_modules(carousel.ops.__path__)}
    assert (
        modules - HAVE_NO_REVERSE
        == OPS.keys()
        == {s.module for s in OP_SPECS.values()} | {"recurrence"}
    )
    for name in HAVE_NO_REVERSE:
        module = __import__(f"carousel.ops.{name}", fromlist=["*"])
        assert not reverses({name: module})


def test_every_backward_pass_of_ops_is_run_by_a_spec() -> None:
    assert len(reverses(OPS)) >= 20
    assert without_spec(OPS, OP_SPECS.values()) == set()


def test_an_op_without_a_spec_is_noticed() -> None:
    module = ModuleType("carousel.ops.new")
    exec("def backward(dy): return dy\ndef _backward(dy): return dy", vars(module))
    assert without_spec(OPS | {"new": module}, []) == {"new.backward", *reverses(OPS)}
    others = [spec for spec in OP_SPECS.values() if spec.module != "layer_norm"]
    assert without_spec(OPS, others) == {"layer_norm.backward"}


def test_every_spec_is_a_row_of_verify_or_a_trial() -> None:
    of_trials = {trial.spec.name for trial in TRIALS.values()}
    assert {spec.name for spec in OP_SPECS.values()} <= {row.name for row in ROWS} | of_trials
    assert len({spec.name for spec in OP_SPECS.values()}) == len(OP_SPECS)


@pytest.mark.parametrize(
    ("trial", "check"),
    [pytest.param(t, c, id=f"{t}-{name}") for t in FUNCTIONS for name, c in checks_of(t).items()],
)
def test_holds(trial: Trial, check: Callable[[Ops, Trial], None]) -> None:
    check(OPS, trial)


@pytest.mark.parametrize("trial", [t for t in FUNCTIONS if "torch" in checks_of(t)], ids=str)
def test_matches_torch_in_single_precision(trial: Trial) -> None:
    if trial.name == "blocks_padded":  # its scores, about -1000, have three digits left
        trial = trial._replace(constants=with_padding)
    matches_torch(OPS, trial._replace(far=trial.far / 100), torch.float32)
