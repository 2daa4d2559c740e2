"""The rows beside the recurrences: true with other seeds too, and each sees faults of its own."""

from types import ModuleType

import pytest

from anchors import Edit
from budgets import amount, torture
from carousel.models import mlp as mlp_backbone
from carousel.models import transformer
from carousel.nn import attention as attention_layer
from carousel.nn import cross_entropy as cross_entropy_layer
from carousel.nn import embedding as embedding_layer
from carousel.nn import mlp as window_layer
from carousel.nn import multihead_attention, normalization
from carousel.nn import transformer as block
from carousel.ops import attention, cross_entropy, flash_attention, layer_norm, mlp, softmax
from carousel.ops import positions as places
from carousel.verify.rows import CHECKS, ROWS
from carousel.verify.table import Row
from verify.faults import BY_NAME, plant, planted, seen_by

TORCH = {"torch.nn float64", "torch.nn float32"}
GRADIENTS = {"exact", "finite diff.", "autograd"}
NOT_SCALED = Edit(
    "backward",
    'einsum("bnij,bnik->bnjk", ds, q) * scale',
    'einsum("bnij,bnik->bnjk", ds, q)',
    label="att.9",
)
SOME = 4  # seeds: two may not show a fault of a window or of blocks
MORE = 12  # seeds: not every random model has the layers or the positions that show a fault


@torture
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # torch says so of its own
@pytest.mark.parametrize("check", [check.name for check in CHECKS])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_holds(row: Row, check: str) -> None:
    """With seeds that the command does not draw."""
    examine = row.cells[check]
    figure = None if isinstance(examine, str) else examine(range(1000, 1000 + amount(2, 60)))
    assert figure is None or (figure.holds and figure.cases >= 2), figure


# In an op: the row that runs it, what it calls, what is changed in that, who sees it.
OPS = [
    (
        "embedding",
        mlp,
        Edit("embed_backward", "look_up_backward(dx, ids + 1, _)", "look_up_backward(dx, ids, _)"),
        GRADIENTS,
    ),
    ("mlp", mlp, Edit("layer_backward", "dh * (1 - h * h)", "dh * (1 - h)"), GRADIENTS),
    (
        "mlp",
        mlp,
        Edit("windows_backward", "dx[:, k : k + steps] += part", "dx[:, k : k + steps] = part"),
        GRADIENTS,
    ),
    (
        "cross-entropy",
        cross_entropy,
        Edit("backward", "-torch.ones_like(_, dtype=_1)", "torch.ones_like(_, dtype=_1)"),
        GRADIENTS,
    ),
    (
        "layer norm",
        layer_norm,
        Edit("normalise_backward", "_ - unit * along", "_ - along"),
        GRADIENTS,
    ),
    ("layer norm", layer_norm, Edit("backward", "(rows * units).sum(0)", "rows.sum(0)"), GRADIENTS),
    (
        "attention",
        attention,
        Edit("backward", "dp if dweights is None else dp + dweights", "dp"),
        GRADIENTS,
    ),
    ("attention", attention, NOT_SCALED, GRADIENTS),
    (
        "attention, masked",
        attention,
        Edit("backward", "dp if keep is None else dp * keep", "dp", label="att.7"),
        GRADIENTS,
    ),
    ("attention, masked", attention, Edit("build_mask", "j > i", "j > i + 1"), {"causality"}),
    (
        "attention, masked",
        attention,
        Edit("build_mask", "j <= i - sight.context", "j < i - sight.context"),
        {"causality"},
    ),
    (
        "attention, masked",
        attention,
        Edit("build_mask", "j < sight.first.unsqueeze(-1)", "j + 1 < sight.first.unsqueeze(-1)"),
        {"causality"},
    ),
    (
        "attention blocks",
        flash_attention,
        Edit("backward", "_ - along[..., rows, :]", "_", label="blocks.8"),
        GRADIENTS | TORCH,
    ),
    (
        "attention blocks",
        flash_attention,
        Edit("forward", "total = total * shrunk + _", "total = total + _", label="blocks.2"),
        {"exact", "causality", *TORCH},
    ),
    (
        "attention blocks, masked",
        flash_attention,
        Edit(
            "_seen",
            "past + rows.start - sight.context + 1",
            "past + rows.start - sight.context + 2",
        ),
        {"exact", "causality", *TORCH},
    ),
    (
        "attention blocks, masked",
        flash_attention,
        Edit("backward", "dk[..., columns, :] += _", "dk[..., columns, :] = _", label="att.9"),
        {"exact", "autograd", *TORCH},
    ),
]


@pytest.mark.parametrize(("name", "module", "edit", "seers"), OPS)
def test_a_fault_in_an_op_is_seen(
    name: str,
    module: ModuleType,
    edit: Edit,
    seers: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, module, edit)
    assert seen_by(BY_NAME[name], *seers, seeds=SOME) == seers


def test_a_fault_in_softmax_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    edit = Edit("softmax_backward", "(dp * p).sum(_, keepdim=_1)", "dp.sum(_, keepdim=_1)")
    plant(monkeypatch, softmax, edit)
    seers = GRADIENTS | TORCH
    assert seen_by(BY_NAME["softmax"], *seers) == seers


def test_a_softmax_of_other_shares_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reverse fits it: only another definition tells."""
    edit = Edit("_shares", "(s - shift).exp()", "(s - shift).exp() ** 2")
    plant(monkeypatch, softmax, edit)
    assert seen_by(BY_NAME["softmax"], *TORCH) == TORCH


def test_a_fault_in_rotary_positions_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    edit = Edit("rotate", "first * cos - second * sin", "first * cos + second * sin")
    plant(monkeypatch, places, edit)
    seers = {*GRADIENTS, "streaming"}
    assert seen_by(BY_NAME["rotary"], *seers) == seers


# In what autograd meets of a layer: the row, the module, what is changed. The op is true.
LAYERS = [
    (
        "embedding",
        embedding_layer,
        Edit(
            "_backward",
            "embed_backward(dx, _, _1)",
            "embed_backward(2 * dx, _, _1)",
        ),
    ),
    (
        "mlp",
        window_layer,
        Edit(
            "_backward",
            "mlp.layer_backward(dh, h, _, w)",
            "mlp.layer_backward(h, h, _, w)",
        ),
    ),
    (
        "cross-entropy",
        cross_entropy_layer,
        Edit(
            "_backward",
            "implementation.backward(dlosses, _)",
            "implementation.backward(1 - dlosses, _)",
        ),
    ),
    (
        "layer norm",
        normalization,
        Edit(
            "_forward",
            "y, (unit, scale, gain)",
            "y, (unit, scale, gain + 1)",
        ),
    ),
    (
        "attention",
        attention_layer,
        Edit("_backward", "ds.sum_to_size(_)", "2 * ds.sum_to_size(_)"),
    ),
]


@pytest.mark.parametrize(("name", "module", "edit"), LAYERS)
def test_a_fault_in_a_layer_is_seen(
    name: str, module: ModuleType, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, faulty = (getattr(each, edit.function) for each in (module, planted(module, edit)))
    monkeypatch.setattr(function, "__code__", faulty.__code__)
    assert seen_by(BY_NAME[name], *TORCH) == TORCH


def test_a_fault_in_the_reverse_below_multi_head_attention_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = planted(attention, NOT_SCALED)
    monkeypatch.setattr(attention_layer, "attention", wrong)
    seers = {"finite diff.", "autograd", *TORCH}
    assert seen_by(BY_NAME["multi-head"], *seers) == seers


def test_a_fault_in_the_reverse_below_masked_heads_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit = Edit("backward", "p.mT @ dy_i", "0 * p.mT @ dy_i", label="att.5")
    wrong = planted(flash_attention, edit)
    monkeypatch.setattr(attention_layer, "flash_attention", wrong)
    seers = {"finite diff.", "autograd", *TORCH}
    assert seen_by(BY_NAME["multi-head, masked"], *seers) == seers
    assert seen_by(BY_NAME["transformer"], *seers) == seers


# In multi-head attention: what is changed, who sees it.
HEADS = [
    (
        Edit(
            "MultiheadAttention._projected",
            "inputs = (query, key, value)",
            "inputs = (query, value, key)",
            given="query is key and key is value and _",
        ),
        TORCH,
    ),
    (
        Edit(
            "MultiheadAttention._attended",
            "attention_with_weights(q, k, v, _, _1, backend=_2)",
            "attention_with_weights(q, k, v.flip(1), _, _1, backend=_2)",
        ),
        TORCH,
    ),
    (
        Edit(
            "MultiheadAttention._in_heads",
            "heads.transpose(1, 2).contiguous()",
            "heads.transpose(1, 2) + torch.arange(x.shape[1]).unsqueeze(-1)",
            given="heads = x.reshape(*x.shape[:2], _, _1)",
        ),
        {"causality", *TORCH},
    ),
]


@pytest.mark.parametrize(("edit", "seers"), HEADS)
def test_a_fault_in_multi_head_attention_is_seen(
    edit: Edit, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = planted(multihead_attention, edit).MultiheadAttention
    method = edit.function.split(".")[1]
    monkeypatch.setattr(multihead_attention.MultiheadAttention, method, getattr(wrong, method))
    assert seen_by(BY_NAME["multi-head"], *seers) == seers


# In the transformer: the module, what is changed in it, who sees it.
CAUSAL, BLOCK = "CausalSelfAttention.forward", "TransformerBlock.forward"
SIGHT = "AttentionMask(self.context, first)"
TRANSFORMER = [
    (block, Edit(CAUSAL, SIGHT, "AttentionMask(self.context + 1, first)"), {"causality", *TORCH}),
    (block, Edit(CAUSAL, SIGHT, "AttentionMask(None, first)"), {"causality", "streaming", *TORCH}),
    (block, Edit(CAUSAL, "self.context - past.filled", "None"), {"streaming"}),
    (block, Edit(CAUSAL, "self.is_rotary", "False"), {"causality"}),
    (
        block,
        Edit(
            "CausalSelfAttention._turned",
            "slice(-q.shape[2], None)",
            "slice(0, q.shape[2])",
        ),
        {"streaming"},
    ),
    (block, Edit("CausalSelfAttention._last", "filled + steps", "filled + 1"), {"streaming"}),
    (block, Edit(BLOCK, "self.feed_forward_norm(x)", "self.attention_norm(x)"), TORCH),
    (
        block,
        Edit(BLOCK, "x = x + self.dropout(_)", "x = x.mean(1, True) + self.dropout(_)"),
        {"causality", "streaming", *TORCH},
    ),
    (
        transformer,
        Edit("TransformerBackbone.forward", "state[0][layer]", "state[0][0]"),
        {"streaming"},
    ),
    (
        transformer,
        Edit(
            "TransformerBackbone._placed",
            "state[2][0].unsqueeze(-1) + _",
            "0 * state[2][0].unsqueeze(-1) + _",
        ),
        {"streaming"},
    ),
]


@pytest.mark.parametrize(("module", "edit", "seers"), TRANSFORMER)
def test_a_fault_in_the_transformer_is_seen(
    module: ModuleType, edit: Edit, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, name = edit.function.split(".")
    wrong = getattr(getattr(planted(module, edit), kind), name)
    monkeypatch.setattr(getattr(module, kind), name, wrong)
    assert seen_by(BY_NAME["transformer"], *seers, seeds=MORE) == seers


# In the body of the fixed window: what is changed, who sees it.
WINDOW = [
    (
        Edit(
            "MlpBackbone.forward",
            "seen[:, seen.shape[1] - self.n + 1 :]",
            "seen[:, : self.n - 1]",
        ),
        {"streaming"},
    ),
    (Edit("MlpBackbone.forward", "_ if state is None else state", "_"), {"streaming"}),
    (Edit("MlpBackbone.__init__", "self.n = _", "self.n = _ + 1"), {"causality"}),
]


@pytest.mark.parametrize(("edit", "seers"), WINDOW)
def test_a_fault_in_the_body_of_the_window_is_seen(
    edit: Edit, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp_backbone, "MlpBackbone", planted(mlp_backbone, edit).MlpBackbone)
    assert seen_by(BY_NAME["mlp"], *seers, seeds=MORE) == seers


def test_a_window_that_sees_what_is_later_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(mlp, Edit("windows", "x[:, k : k + steps]", "x[:, k : k + steps].flip(1)"))
    monkeypatch.setattr(window_layer, "mlp", wrong)
    seers = {"causality", "streaming", *TORCH}
    assert seen_by(BY_NAME["mlp"], *seers, seeds=MORE) == seers
