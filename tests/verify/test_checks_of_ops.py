"""The checks that run the ops: true of every family, and each sees the faults of its kind."""

from types import ModuleType

import pytest

from amounts import amount, torture
from carousel.ops import layer_norm, recurrence
from carousel.verify import cases
from carousel.verify.autograd import autograd
from carousel.verify.cases import VARIANTS, Variant
from carousel.verify.causality import causality
from carousel.verify.differences import differences
from carousel.verify.exact import exact
from carousel.verify.figure import Figure
from carousel.verify.streaming import streaming
from carousel.verify.table import Check, examine
from verify.faults import BY_NAME, REVERSES, faulty, planted

CHECKS = {
    "exact": exact,
    "differences": differences,
    "autograd": autograd,
    "streaming": streaming,
    "causality": causality,
}
GRADIENTS = {"exact", "differences", "autograd"}


def found(check: str, variant: Variant, seeds: int = 2) -> Figure:
    return examine(variant, Check(check, CHECKS[check], seeds, ""))


def seen_by(variant: Variant) -> set[str]:
    """Which checks fail."""
    return {check for check in CHECKS if not found(check, variant).holds}


@torture
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("check", CHECKS)
def test_holds(check: str, variant: Variant) -> None:
    """With seeds that the command does not draw."""
    seeds = range(1000, 1000 + amount(2, 60))
    figure = CHECKS[check](variant, seeds)
    assert figure.holds, figure
    assert figure.cases >= len(seeds)


@pytest.mark.parametrize(("name", "module", "true", "false"), REVERSES)
def test_a_fault_in_a_reverse_is_seen(name: str, module: ModuleType, true: str, false: str) -> None:
    assert seen_by(faulty(BY_NAME[name], module, true, false)) >= GRADIENTS


# In the time loop: what stands there, what instead, in which variant it shows, who sees it.
LOOP = [
    ("family.step(a_t, read,", "family.step(a_t, state,", "gru, masked", GRADIENTS),
    (
        "return a if source.b_ih is None else a + source.b_ih",
        "return a",
        "gru",
        GRADIENTS,
    ),
    (
        "in enumerate(project(source).unbind(0))",
        "in enumerate(project(source).flip(0).unbind(0))",
        "lstm",
        {"differences", "autograd", "streaming", "causality"},
    ),
    (
        "outputs, caches = [], []",
        "outputs, caches, state = [], [], tuple(0 * s for s in state)",
        "lstm",
        {*CHECKS},
    ),
    ("dstate = (dstate[0] + dy_t, *dstate[1:])", "dstate = (dy_t, *dstate[1:])", "gru", GRADIENTS),
    ("name: _sum(steps) for", "name: _sum(steps[:1]) for", "lstm", GRADIENTS | {"streaming"}),
    ("torch.stack(da[::-1])", "torch.stack(da)", "rnn tanh", GRADIENTS | {"streaming"}),
    ("dread if hold is None else dread + hold * d", "dread", "lstm, masked", GRADIENTS),
    ("d if hold is None else (1 - hold) * d", "d", "lstm, masked", GRADIENTS),
    (
        "dgain = (flat * unit.flatten(0, 1)).sum(0)",
        "dgain = flat.sum(0)",
        "lstm layer norm",
        GRADIENTS,
    ),
    ("else d.sum(0)", "else d.sum(0, keepdim=True)", "gru", GRADIENTS),  # of another shape
    (
        "family.step(a_t, read,",  # no gradient tells of it
        "family.step(a_t + source.x[-1, :, :1].detach(), read,",
        "gru",
        {"causality", "streaming", "differences"},
    ),
]


@pytest.mark.parametrize(("true", "false", "name", "seers"), LOOP)
def test_a_fault_in_the_time_loop_is_seen(
    true: str, false: str, name: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "recurrence", planted(recurrence, true, false))
    assert seen_by(BY_NAME[name]) >= seers


def test_a_fault_in_layer_normalisation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(layer_norm, "- unit * along", "- along")
    monkeypatch.setattr("carousel.ops.lstm_layer_norm.normalise_backward", wrong.normalise_backward)
    assert seen_by(BY_NAME["lstm layer norm"]) >= GRADIENTS
