"""Every exhibit of the bug museum, planted in our code, is seen by the checks that it names."""

import op_case
import op_cases
import op_checks
import pytest
from block_checks import BLOCK_CHECKS, planted_block
from exhibits import Exhibit
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from museum import PAGE, page
from planting import planted as planted_op
from wings import OPS, RECURRENCE, WINGS, Wing, exhibits_of

from recurrence_checks import checks_of, fails
from recurrences import CASES, OURS, Trial, planted

EXHIBITS = [(wing, exhibit) for wing in WINGS for exhibit in exhibits_of(wing)]


@pytest.mark.parametrize(("wing", "exhibit"), EXHIBITS, ids=[e.title for _, e in EXHIBITS])
def test_a_fault_is_seen_by_those_named_and_no_others(wing: Wing, exhibit: Exhibit) -> None:
    seen_by = wing.seers(exhibit)
    assert seen_by == set(exhibit.seen_by.split())
    assert seen_by
    is_op = wing in (RECURRENCE, OPS)
    assert not is_op or seen_by & {"torch", "definition"}, "our own code may share the fault"


def test_planting_alone_is_not_seen() -> None:
    """Code run from its text, with nothing changed in it, passes every check."""
    for module in ("recurrence", "layer_norm"):
        code = planted(module)
        assert code[module] is not OURS[module]
        trial = Trial(CASES["lstm_layer_norm"], masked=True)
        assert not any(fails(check, code, trial) for check in checks_of(trial).values())
    layer = planted_layer("packing")
    assert not any(fails_layer(check, layer) for check in LAYER_CHECKS.values())
    block = planted_block("transformer")
    assert not any(fails_layer(check, block) for check in BLOCK_CHECKS.values())


@pytest.mark.parametrize("name", op_cases.CASES)
def test_planting_alone_is_not_seen_in_an_op(name: str) -> None:
    case = op_cases.CASES[name]
    code = op_case.OPS.copy()
    for module in op_case.MODULES:  # each copied from its own text at least once
        code |= planted_op("carousel.ops", op_case.MODULES, module)
    assert all(code[module] is not op_case.OPS[module] for module in op_case.MODULES)
    checks = op_checks.checks_of(case)
    assert not any(op_checks.fails(check, code, case) for check in checks.values())


def test_the_exhibition_is_large_enough_and_nothing_is_shown_twice() -> None:
    exhibits = [exhibit for _, exhibit in EXHIBITS]
    assert len(exhibits) >= 100
    assert len({exhibit.title for exhibit in exhibits}) == len(exhibits)
    lines = {(e.module, e.edits, e.case) for e in exhibits}
    assert len(lines) == len(exhibits)
    assert all(exhibit.seen_in and exhibit.why for exhibit in exhibits)
    assert {e.module for e in exhibits_of(RECURRENCE)} == OURS.keys() - {"lstm_layer_norm"}
    assert {e.module for e in exhibits_of(OPS)} == set(op_case.MODULES)
    assert {e.case for e in exhibits_of(OPS)} == op_cases.CASES.keys()


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.rooms[0].__name__)
def test_each_check_sees_something(wing: Wing) -> None:
    seers = [set(exhibit.seen_by.split()) for exhibit in exhibits_of(wing)]
    assert set.union(*seers) == set(wing.checks)


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/bugs/museum.py writes it"
