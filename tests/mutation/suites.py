"""Suites: groups of faults that are planted in one way and seen by the same checks."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import faults_attention
import faults_blocks
import faults_gates
import faults_gradients
import faults_layers
import faults_memory
import faults_transformer
import faults_window
from block_checks import BLOCK_CHECKS, planted_block
from fault import Fault
from layer_checks import LAYER_CHECKS, fails_layer, planted_layer
from patching import planted as planted_op

from carousel.verify.op_spec import MODULES, OPS
from carousel.verify.recurrences import RECURRENCES
from op_checks import CHECKS, checks_of, seers
from op_trials import TRIALS, Trial, recurrent


class Suite(NamedTuple):
    """Rooms, and who looks at what stands in them.

    Attributes:
        groups: The groups' modules.
        checks: The names of the checks.
        asked: Those that look at an fault.
        seers: Those that see it, once it is planted.
    """

    groups: tuple[ModuleType, ...]
    checks: tuple[str, ...]
    asked: Callable[[Fault], set[str]]
    seers: Callable[[Fault], set[str]]


def trial_of(fault: Fault) -> Trial:
    """Return the trial that shows a fault of an op."""
    if fault.case in RECURRENCES:
        return recurrent(fault.case, bias=fault.bias, masked=fault.masked)
    return TRIALS[fault.case]


def asked_of_an_op(fault: Fault) -> set[str]:
    return set(checks_of(trial_of(fault)))


def seers_in_an_op(fault: Fault) -> set[str]:
    code = planted_op("carousel.ops", MODULES, fault.module, *fault.edits)
    return seers(OPS | code, trial_of(fault))


def asked_of_a_layer(fault: Fault) -> set[str]:
    return set(LAYER_CHECKS)


def seers_in_a_layer(fault: Fault) -> set[str]:
    code = planted_layer(fault.module, *fault.edits)
    return {name for name, check in LAYER_CHECKS.items() if fails_layer(check, code)}


def asked_of_a_block(fault: Fault) -> set[str]:
    return set(BLOCK_CHECKS)


def seers_in_a_block(fault: Fault) -> set[str]:
    code = planted_block(fault.module, *fault.edits)
    return {name for name, check in BLOCK_CHECKS.items() if fails_layer(check, code)}


RECURRENCE = Suite(
    (faults_memory, faults_gates, faults_gradients),
    tuple(name for name in CHECKS if name != "blocks"),
    asked_of_an_op,
    seers_in_an_op,
)
LAYERS = Suite((faults_layers,), tuple(LAYER_CHECKS), asked_of_a_layer, seers_in_a_layer)
FUNCTIONS = Suite(
    (faults_attention, faults_blocks, faults_window),
    tuple(CHECKS),
    asked_of_an_op,
    seers_in_an_op,
)
BLOCKS = Suite((faults_transformer,), tuple(BLOCK_CHECKS), asked_of_a_block, seers_in_a_block)
SUITES = (RECURRENCE, LAYERS, FUNCTIONS, BLOCKS)


def faults_of(suite: Suite) -> list[Fault]:
    return [fault for group in suite.groups for fault in group.FAULTS]
