"""The checks that run the recurrent ops: each sees the faults of its kind."""

from types import ModuleType

import pytest

from anchors import Edit
from carousel.nn import embedding_input, stack
from carousel.ops import embedding, layer_norm, recurrence
from verify.faults import BY_NAME, REVERSES, plant, planted, seen_by

GRADIENTS = {"exact", "finite diff.", "autograd"}
TORCH = {"torch.nn float64", "torch.nn float32"}
CHECKS = (*GRADIENTS, "streaming", "causality")


@pytest.mark.parametrize(("name", "module", "edit"), REVERSES)
def test_a_fault_in_a_reverse_is_seen(
    name: str, module: ModuleType, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, module, edit)
    assert seen_by(BY_NAME[name], *GRADIENTS) == GRADIENTS


# In the time loop: what is changed, in which variant it shows, who sees it.
LOOP = [
    (
        Edit(
            "forward",
            "family.step(a_t, read, weights, *_)",
            "family.step(a_t, state, weights, *_)",
            given="state = tuple(map(_held, new, state, _))",
        ),
        "gru, masked",
        GRADIENTS,
    ),
    (
        Edit("multiply", "return a if source.b_ih is None else a + source.b_ih", "return a"),
        "gru",
        GRADIENTS,
    ),
    (
        Edit("forward", "project(source).unbind(0)", "project(source).flip(0).unbind(0)"),
        "lstm",
        {"finite diff.", "autograd", "streaming", "causality"},
    ),
    (
        Edit(
            "forward",
            "outputs, caches = [], []",
            "outputs, caches, state = [], [], tuple(0 * s for s in state)",
            given="return torch.stack(outputs), state, Saved(_, caches)",
        ),
        "lstm",
        {*CHECKS},
    ),
    (Edit("backward", "dstate[0] + dy_t", "dy_t", label="bptt.3"), "gru", GRADIENTS),
    (Edit("backward", "_sum(steps)", "_sum(steps[:1])"), "lstm", GRADIENTS | {"streaming"}),
    (
        Edit("backward", "torch.stack(da[::-1])", "torch.stack(da)"),
        "rnn tanh",
        GRADIENTS | {"streaming"},
    ),
    (
        Edit("_kept", "dread if hold is None else dread + hold * d", "dread"),
        "lstm, masked",
        GRADIENTS,
    ),
    (Edit("_released", "d if hold is None else (1 - hold) * d", "d"), "lstm, masked", GRADIENTS),
    (
        Edit(
            "multiply_backward",
            "(flat * unit.flatten(0, 1)).sum(0)",
            "flat.sum(0)",
            label="bptt.12",
        ),
        "lstm layer norm",
        GRADIENTS,
    ),
    (Edit("_sum", "d.sum(0)", "d.sum(0, keepdim=True)"), "gru", GRADIENTS),  # of another shape
    (
        Edit(
            "forward",  # no gradient tells of it
            "family.step(a_t, _, weights, *_1)",
            "family.step(a_t + source.x[-1, :, :1].detach(), _, weights, *_1)",
            given="project(source)",
        ),
        "gru",
        {"causality", "streaming", "finite diff."},
    ),
]


@pytest.mark.parametrize(("edit", "name", "seers"), LOOP)
def test_a_fault_in_the_time_loop_is_seen(
    edit: Edit, name: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, recurrence, edit)
    assert seen_by(BY_NAME[name], *seers) == seers


def test_a_fault_in_layer_normalisation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(layer_norm, Edit("normalise_backward", "_ - unit * along", "_ - along"))
    monkeypatch.setattr("carousel.ops.lstm_variants.normalise_backward", wrong.normalise_backward)
    assert seen_by(BY_NAME["lstm layer norm"], *GRADIENTS) == GRADIENTS


# From ids, in the time loop's module: what is changed, who sees it.
TABLE = [
    (Edit("project_embedding_backward", "d.x[0, 1:]", "d.x[0, :-1]"), GRADIENTS),
    (
        Edit(
            "project_embedding_backward",
            "multiply_backward(dtable[None], _)",
            "multiply_backward(2 * dtable[None], _)",
        ),
        GRADIENTS,
    ),
    (
        Edit(
            "project_backward",
            "look_up_backward(da, source.ids, _)",
            "look_up_backward(da, source.ids.flip(1), _)",
        ),
        GRADIENTS,
    ),
    (
        Edit("project", "look_up(*source)", "look_up(source.ids.flip(0), source.table)"),
        GRADIENTS | {"causality"},
    ),
]


@pytest.mark.parametrize("name", ["lstm, from ids", "lstm layer norm, from ids"])
@pytest.mark.parametrize(("edit", "seers"), TABLE)
def test_a_fault_in_the_table_of_projections_is_seen(
    edit: Edit, seers: set[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, recurrence, edit)
    assert seen_by(BY_NAME[name], *seers) == seers


def test_a_sum_that_keeps_one_share_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(
        embedding, Edit("added_up", "table.index_add(0, into, d)", "table.index_copy(0, into, d)")
    )
    monkeypatch.setattr(recurrence, "look_up_backward", wrong.look_up_backward)
    seers = GRADIENTS | {*TORCH, "streaming"}
    assert seen_by(BY_NAME["gru, from ids"], *seers) == seers


# In the layer: what is changed, who sees it. The op is true.
READING = [
    (Edit("source", "x.ids + 1", "x.ids"), {*TORCH, "streaming"}),
    (
        Edit(
            "_backward",
            "project_embedding_backward(dtable, _)",
            "project_embedding_backward(2 * dtable, _)",
        ),
        TORCH,
    ),
    (
        Edit(
            "source",
            "_project_embedding(_, backend=_1)",
            "_project_embedding(_, backend=_1).detach()",
        ),
        {*TORCH, "streaming"},
    ),
]


@pytest.mark.parametrize(("edit", "seers"), READING)
def test_a_fault_in_the_layer_that_reads_ids_is_seen(
    edit: Edit, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = planted(embedding_input, edit)
    true_class = embedding_input.Embedded
    monkeypatch.setattr(wrong, "Embedded", true_class)
    monkeypatch.setattr(stack, "source", wrong.source)
    assert seen_by(BY_NAME["rnn tanh, from ids"], *seers, seeds=4) == seers
