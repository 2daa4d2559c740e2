"""Every exhibit of the bug museum, planted in our code, is seen by the checks that it names."""

import pytest
from block_checks import BLOCK_CHECKS, planted_block
from exhibits import Exhibit
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from museum import PAGE, page
from planting import planted
from wings import FUNCTIONS, RECURRENCE, WINGS, Wing, exhibits_of

import op_trials
from carousel.verify.op_spec import MODULES, OPS
from op_checks import seers
from op_trials import Trial, recurrent

OF_FAMILIES = {"rnn", "gru", "lstm", "lstm_variants"}
OF_RECURRENCE = OF_FAMILIES | {"recurrence", "layer_norm"}
EXHIBITS = [(wing, exhibit) for wing in WINGS for exhibit in exhibits_of(wing)]


@pytest.mark.parametrize(("wing", "exhibit"), EXHIBITS, ids=[e.title for _, e in EXHIBITS])
def test_a_fault_is_seen_by_those_named_and_no_others(wing: Wing, exhibit: Exhibit) -> None:
    seen_by = wing.seers(exhibit)
    assert seen_by == set(exhibit.seen_by.split())
    assert seen_by
    is_op = wing in (RECURRENCE, FUNCTIONS)
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


def test_the_exhibition_is_large_enough_and_nothing_is_shown_twice() -> None:
    exhibits = [exhibit for _, exhibit in EXHIBITS]
    assert len(exhibits) >= 100
    assert len({exhibit.title for exhibit in exhibits}) == len(exhibits)
    lines = {(e.module, e.edits, e.case) for e in exhibits}
    assert len(lines) == len(exhibits)
    assert all(exhibit.seen_in and exhibit.why for exhibit in exhibits)
    assert {e.module for e in exhibits_of(RECURRENCE)} == OF_RECURRENCE
    assert {e.module for e in exhibits_of(FUNCTIONS)} == set(MODULES) - OF_FAMILIES
    assert {e.case for e in exhibits_of(FUNCTIONS)} == {trial.name for trial in op_trials.FUNCTIONS}


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.rooms[0].__name__)
def test_each_check_sees_something(wing: Wing) -> None:
    seers = [set(exhibit.seen_by.split()) for exhibit in exhibits_of(wing)]
    assert set.union(*seers) == set(wing.checks)


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/bugs/museum.py writes it"
