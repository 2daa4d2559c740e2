"""The checks that run the recurrent ops: each sees the faults of its kind."""

from types import ModuleType

import pytest

from carousel.layers import embedded, stack
from carousel.ops import layer_norm, lookup, recurrence
from carousel.verify import from_ids, recurrences
from verify.faults import BY_NAME, REVERSES, faulty, planted, seen_by

GRADIENTS = {"exact", "finite diff.", "autograd"}
TORCH = {"torch.nn float64", "torch.nn float32"}
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


# From ids, in the time loop's module: what stands there, what instead, who sees it.
TABLE = [
    ("d._replace(x=d.x[0, 1:])", "d._replace(x=d.x[0, :-1])", GRADIENTS),
    ("multiply_backward(dtable[None]", "multiply_backward(2 * dtable[None]", GRADIENTS),
    ("look_up_backward(da, source.ids,", "look_up_backward(da, source.ids.flip(1),", GRADIENTS),
    (
        "look_up(*source) if",
        "look_up(source.ids.flip(0), source.table) if",
        GRADIENTS | {"causality"},
    ),
]


@pytest.mark.parametrize("name", ["lstm, from ids", "lstm layer norm, from ids"])
@pytest.mark.parametrize(("true", "false", "seers"), TABLE)
def test_a_fault_in_the_table_of_projections_is_seen(
    true: str, false: str, seers: set[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_ids, "recurrence", planted(recurrence, true, false))
    assert seen_by(BY_NAME[name], *seers) == seers


def test_a_sum_that_keeps_one_share_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(lookup, "table.index_add(0, into, d)", "table.index_copy(0, into, d)")
    monkeypatch.setattr(recurrence, "look_up_backward", wrong.look_up_backward)
    seers = GRADIENTS | {*TORCH, "streaming"}
    assert seen_by(BY_NAME["gru, from ids"], *seers) == seers


# In the layer: what stands there, what instead, who sees it. The op is true.
READING = [
    ("Gather(x.ids + 1, table)", "Gather(x.ids, table)", {*TORCH, "streaming"}),
    ("tabulate_backward(dtable,", "tabulate_backward(2 * dtable,", TORCH),
    ("Gather(x.ids + 1, table)", "Gather(x.ids + 1, table.detach())", {*TORCH, "streaming"}),
]


@pytest.mark.parametrize(("true", "false", "seers"), READING)
def test_a_fault_in_the_layer_that_reads_ids_is_seen(
    true: str, false: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = planted(embedded, true, false)
    true_class = embedded.Embedded
    monkeypatch.setattr(wrong, "Embedded", true_class)
    monkeypatch.setattr(stack, "source", wrong.source)
    assert seen_by(BY_NAME["rnn tanh, from ids"], *seers, seeds=4) == seers
