"""Every exhibit of the bug museum, planted in our code, is seen by the checks that it names."""

import museum
import pytest
from exhibits import Exhibit
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from museum import OF_OPS, PAGE, ROOMS, page
from room_layers import ROOM as LAYERS

from recurrence_checks import CHECKS, checks_of, fails
from recurrences import CASES, OURS, Trial, planted

OPS = [exhibit for room in OF_OPS for exhibit in room.ROOM]
EXHIBITS = [exhibit for room in ROOMS for exhibit in room.ROOM]


@pytest.mark.parametrize("exhibit", OPS, ids=lambda exhibit: exhibit.title)
def test_an_op_s_fault_is_seen_by_those_named_and_no_others(exhibit: Exhibit) -> None:
    trial = Trial(CASES[exhibit.case], exhibit.bias, exhibit.masked)
    code = planted(exhibit.module, exhibit.was, exhibit.becomes)
    seen_by = {name for name, check in checks_of(trial).items() if fails(check, code, trial)}
    assert seen_by == set(exhibit.seen_by.split())
    assert seen_by & {"torch", "definition"}, "what only our own code contradicts may be its fault"
    assert "torch" in seen_by or "torch" not in checks_of(trial), "the page leaves it blank"


@pytest.mark.parametrize("exhibit", LAYERS, ids=lambda exhibit: exhibit.title)
def test_a_layer_s_fault_is_seen_by_those_named_and_no_others(exhibit: Exhibit) -> None:
    code = planted_layer(exhibit.module, exhibit.was, exhibit.becomes)
    seen_by = {name for name, check in LAYER_CHECKS.items() if fails_layer(check, code)}
    assert seen_by == set(exhibit.seen_by.split())
    assert seen_by


def test_planting_alone_is_not_seen() -> None:
    """Code run from its text, with nothing changed in it, passes every check."""
    for module in ("recurrence", "layer_norm"):
        title = OURS[module].__doc__.splitlines()[0]
        code = planted(module, title, title)
        assert code[module] is not OURS[module]
        trial = Trial(CASES["lstm_layer_norm"], masked=True)
        assert not any(fails(check, code, trial) for check in checks_of(trial).values())
    layer = planted_layer("packing", "def layout(", "def layout(")
    assert not any(fails_layer(check, layer) for check in LAYER_CHECKS.values())


def test_the_exhibition_is_large_enough_and_nothing_is_shown_twice() -> None:
    assert len(EXHIBITS) >= 30
    assert len({exhibit.title for exhibit in EXHIBITS}) == len(EXHIBITS)
    lines = {(e.module, e.was, e.becomes, e.case) for e in EXHIBITS}
    assert len(lines) == len(EXHIBITS)
    assert all(exhibit.seen_in and exhibit.why for exhibit in EXHIBITS)
    assert {exhibit.module for exhibit in OPS} == OURS.keys() - {"lstm_layer_norm"}


def test_each_check_sees_something_and_the_page_knows_them_all() -> None:
    assert {name for e in OPS for name in e.seen_by.split()} == CHECKS.keys()
    assert {name for e in LAYERS for name in e.seen_by.split()} == LAYER_CHECKS.keys()
    assert (tuple(CHECKS), tuple(LAYER_CHECKS)) == (museum.CHECKS, museum.LAYER_CHECKS)


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/bugs/museum.py writes it"
