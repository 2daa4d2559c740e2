"""The museum's wings: rooms whose faults are planted in one way and seen by the same checks."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

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

from carousel.verify.op_spec import MODULES, OPS
from carousel.verify.recurrences import RECURRENCES
from op_checks import CHECKS, checks_of, seers
from op_trials import TRIALS, Trial, recurrent


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
    """Return the trial that shows a fault of an op."""
    if exhibit.case in RECURRENCES:
        return recurrent(exhibit.case, bias=exhibit.bias, masked=exhibit.masked)
    return TRIALS[exhibit.case]


def asked_of_an_op(exhibit: Exhibit) -> set[str]:
    return set(checks_of(trial_of(exhibit)))


def seers_in_an_op(exhibit: Exhibit) -> set[str]:
    code = planted_op("carousel.ops", MODULES, exhibit.module, *exhibit.edits)
    return seers(OPS | code, trial_of(exhibit))


def asked_of_a_layer(exhibit: Exhibit) -> set[str]:
    return set(LAYER_CHECKS)


def seers_in_a_layer(exhibit: Exhibit) -> set[str]:
    code = planted_layer(exhibit.module, *exhibit.edits)
    return {name for name, check in LAYER_CHECKS.items() if fails_layer(check, code)}


def asked_of_a_block(exhibit: Exhibit) -> set[str]:
    return set(BLOCK_CHECKS)


def seers_in_a_block(exhibit: Exhibit) -> set[str]:
    code = planted_block(exhibit.module, *exhibit.edits)
    return {name for name, check in BLOCK_CHECKS.items() if fails_layer(check, code)}


RECURRENCE = Wing(
    (room_memory, room_gates, room_gradients),
    tuple(name for name in CHECKS if name != "blocks"),
    asked_of_an_op,
    seers_in_an_op,
)
LAYERS = Wing((room_layers,), tuple(LAYER_CHECKS), asked_of_a_layer, seers_in_a_layer)
FUNCTIONS = Wing(
    (room_attention, room_blocks, room_window),
    tuple(CHECKS),
    asked_of_an_op,
    seers_in_an_op,
)
BLOCKS = Wing((room_transformer,), tuple(BLOCK_CHECKS), asked_of_a_block, seers_in_a_block)
WINGS = (RECURRENCE, LAYERS, FUNCTIONS, BLOCKS)


def exhibits_of(wing: Wing) -> list[Exhibit]:
    return [exhibit for room in wing.rooms for exhibit in room.ROOM]
