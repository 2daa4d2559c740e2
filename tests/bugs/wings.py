"""The museum's wings: rooms whose faults are planted in one way and seen by the same checks."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import op_case
import op_cases
import op_checks
import room_attention
import room_blocks
import room_gates
import room_gradients
import room_layers
import room_memory
import room_transformer
import room_window
from block_checks import BLOCK_CHECKS, planted_block
from exhibits import Exhibit
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from planting import planted as planted_op

import recurrence_checks
from recurrences import CASES, Trial, planted


class Wing(NamedTuple):
    """Rooms, and who looks at what stands in them.

    Attributes:
        rooms: The rooms' modules.
        checks: The names of the checks.
        asked: Those that look at an exhibit.
        seers: Those that see it, once it is planted.
    """

    rooms: tuple[ModuleType, ...]
    checks: tuple[str, ...]
    asked: Callable[[Exhibit], set[str]]
    seers: Callable[[Exhibit], set[str]]


def trial_of(exhibit: Exhibit) -> Trial:
    return Trial(CASES[exhibit.case], exhibit.bias, exhibit.masked)


def asked_of_a_family(exhibit: Exhibit) -> set[str]:
    return set(recurrence_checks.checks_of(trial_of(exhibit)))


def seers_in_a_family(exhibit: Exhibit) -> set[str]:
    trial = trial_of(exhibit)
    code = planted(exhibit.module, *exhibit.edits)
    checks, fails = recurrence_checks.checks_of(trial), recurrence_checks.fails
    return {name for name, check in checks.items() if fails(check, code, trial)}


def asked_of_a_layer(exhibit: Exhibit) -> set[str]:
    return set(LAYER_CHECKS)


def seers_in_a_layer(exhibit: Exhibit) -> set[str]:
    code = planted_layer(exhibit.module, *exhibit.edits)
    return {name for name, check in LAYER_CHECKS.items() if fails_layer(check, code)}


def asked_of_an_op(exhibit: Exhibit) -> set[str]:
    return set(op_checks.checks_of(op_cases.CASES[exhibit.case]))


def seers_in_an_op(exhibit: Exhibit) -> set[str]:
    case = op_cases.CASES[exhibit.case]
    edits = exhibit.edits
    code = op_case.OPS | planted_op("carousel.ops", op_case.MODULES, exhibit.module, *edits)
    checks, fails = op_checks.checks_of(case), op_checks.fails
    return {name for name, check in checks.items() if fails(check, code, case)}


def asked_of_a_block(exhibit: Exhibit) -> set[str]:
    return set(BLOCK_CHECKS)


def seers_in_a_block(exhibit: Exhibit) -> set[str]:
    code = planted_block(exhibit.module, *exhibit.edits)
    return {name for name, check in BLOCK_CHECKS.items() if fails_layer(check, code)}


RECURRENCE = Wing(
    (room_memory, room_gates, room_gradients),
    tuple(recurrence_checks.CHECKS),
    asked_of_a_family,
    seers_in_a_family,
)
LAYERS = Wing((room_layers,), tuple(LAYER_CHECKS), asked_of_a_layer, seers_in_a_layer)
OPS = Wing(
    (room_attention, room_blocks, room_window),
    tuple(op_checks.CHECKS),
    asked_of_an_op,
    seers_in_an_op,
)
BLOCKS = Wing((room_transformer,), tuple(BLOCK_CHECKS), asked_of_a_block, seers_in_a_block)
WINGS = (RECURRENCE, LAYERS, OPS, BLOCKS)


def exhibits_of(wing: Wing) -> list[Exhibit]:
    return [exhibit for room in wing.rooms for exhibit in room.ROOM]
