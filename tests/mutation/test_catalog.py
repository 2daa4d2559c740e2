"""Every fault of the catalog, planted in our code, is seen by the checks that it names."""

import pytest
from block_checks import BLOCK_CHECKS, planted_block
from catalog import PAGE, page
from fault import Fault
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from patching import planted
from suites import FUNCTIONS, RECURRENCE, SUITES, Suite, faults_of

import op_trials
from carousel.verify.op_spec import MODULES, OPS
from carousel.verify.recurrences import RECURRENCES
from op_checks import seers
from op_trials import Trial, recurrent

OF_FAMILIES = {spec.module for spec in RECURRENCES.values()}
OF_RECURRENCE = {"rnn", "gru", "lstm", "lstm_variants", "recurrence", "layer_norm"}
FAULTS = [(suite, fault) for suite in SUITES for fault in faults_of(suite)]


@pytest.mark.parametrize(("suite", "fault"), FAULTS, ids=[e.title for _, e in FAULTS])
def test_a_fault_is_seen_by_those_named_and_no_others(suite: Suite, fault: Fault) -> None:
    seen_by = suite.seers(fault)
    assert seen_by == set(fault.seen_by.split())
    assert seen_by
    is_op = suite in (RECURRENCE, FUNCTIONS)
    assert not is_op or seen_by & {"torch", "definition"}, "our own code may share the fault"


def test_planting_alone_is_not_seen() -> None:
    """Code run from its text, with nothing changed in it, passes every check."""
    layer = planted_layer("packing")
    assert not any(fails_layer(check, layer) for check in LAYER_CHECKS.values())
    block = planted_block("transformer")
    assert not any(fails_layer(check, block) for check in BLOCK_CHECKS.values())


@pytest.mark.parametrize(
    "trial", [*op_trials.FUNCTIONS, recurrent("lstm_layer_norm", masked=True)], ids=str
)
def test_planting_alone_is_not_seen_in_an_op(trial: Trial) -> None:
    code = OPS.copy()
    for module in MODULES:  # each copied from its own text at least once
        code |= planted("carousel.ops", MODULES, module)
    assert all(code[module] is not OPS[module] for module in MODULES)
    assert seers(code, trial) == set()


def test_the_catalog_is_large_enough_and_nothing_is_shown_twice() -> None:
    faults = [fault for _, fault in FAULTS]
    assert len(faults) >= 100
    assert len({fault.title for fault in faults}) == len(faults)
    lines = {(e.module, e.edits, e.case) for e in faults}
    assert len(lines) == len(faults)
    assert all(fault.seen_in and fault.why for fault in faults)
    assert {e.module for e in faults_of(RECURRENCE)} == OF_RECURRENCE
    assert {e.module for e in faults_of(FUNCTIONS)} == set(MODULES) - OF_FAMILIES
    assert {e.case for e in faults_of(FUNCTIONS)} == {trial.name for trial in op_trials.FUNCTIONS}


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.groups[0].__name__)
def test_each_check_sees_something(suite: Suite) -> None:
    seers = [set(fault.seen_by.split()) for fault in faults_of(suite)]
    assert set.union(*seers) == set(suite.checks)


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/mutation/catalog.py writes it"
