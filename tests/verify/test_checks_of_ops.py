"""The checks that run the recurrent ops: each sees the faults of its kind."""

from types import ModuleType

import pytest

from carousel.ops import layer_norm, recurrence
from carousel.verify import recurrences
from verify.faults import BY_NAME, REVERSES, faulty, planted, seen_by

GRADIENTS = {"exact", "finite diff.", "autograd"}
CHECKS = (*GRADIENTS, "streaming", "causality")


@pytest.mark.parametrize(("name", "module", "true", "false"), REVERSES)
def test_a_fault_in_a_reverse_is_seen(name: str, module: ModuleType, true: str, false: str) -> None:
    assert seen_by(faulty(name, module, true, false), *GRADIENTS) == GRADIENTS


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
        {"finite diff.", "autograd", "streaming", "causality"},
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
        {"causality", "streaming", "finite diff."},
    ),
]


@pytest.mark.parametrize(("true", "false", "name", "seers"), LOOP)
def test_a_fault_in_the_time_loop_is_seen(
    true: str, false: str, name: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrences, "recurrence", planted(recurrence, true, false))
    assert seen_by(BY_NAME[name], *seers) == seers


def test_a_fault_in_layer_normalisation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(layer_norm, "- unit * along", "- along")
    monkeypatch.setattr("carousel.ops.lstm_layer_norm.normalise_backward", wrong.normalise_backward)
    assert seen_by(BY_NAME["lstm layer norm"], *GRADIENTS) == GRADIENTS
