"""The rows beside the recurrences: true with other seeds too, and each sees faults of its own."""

from types import ModuleType

import pytest

from amounts import amount, torture
from carousel.layers import attention as attention_layer
from carousel.layers import cross_entropy as cross_entropy_layer
from carousel.layers import embedding as embedding_layer
from carousel.layers import multihead_attention, normalization
from carousel.layers import transformer as block
from carousel.layers import window as window_layer
from carousel.models import bodies, transformer, window
from carousel.ops import attention, attention_in_blocks, cross_entropy, layer_norm, mlp, softmax
from carousel.ops import positions as places
from carousel.verify import functions, positions
from carousel.verify.rows import CHECKS, ROWS
from carousel.verify.table import Row
from verify.faults import BY_NAME, planted, seen_by

TORCH = {"torch.nn float64", "torch.nn float32"}
GRADIENTS = {"exact", "finite diff.", "autograd"}
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


# In an op: the row that runs it, what it calls, what stands there, what instead, who sees it.
OPS = [
    ("embedding", mlp, "(dx, ids + 1, vocab", "(dx, ids, vocab", GRADIENTS),
    ("mlp", mlp, "da = dh * (1 - h * h)", "da = dh * (1 - h)", GRADIENTS),
    ("mlp", mlp, "+= part", "= part", GRADIENTS),
    ("cross-entropy", cross_entropy, "-torch.ones_like", "torch.ones_like", GRADIENTS),
    ("layer norm", layer_norm, "- unit * along", "- along", GRADIENTS),
    ("layer norm", layer_norm, "(rows * units).sum(0)", "rows.sum(0)", GRADIENTS),
    ("attention", attention, "dp if dweights is None else dp + dweights", "dp", GRADIENTS),
    ("attention", attention, "ds, q) * scale", "ds, q)", GRADIENTS),
    ("attention, masked", attention, "dp if keep is None else dp * keep", "dp", GRADIENTS),
    ("attention, masked", attention, "(j > i)", "(j > i + 1)", {"causality"}),
    ("attention, masked", attention, "(j <= i - sight", "(j < i - sight", {"causality"}),
    ("attention, masked", attention, "(j < sight.first", "(j + 1 < sight.first", {"causality"}),
    ("attention blocks", attention_in_blocks, "- along[..., rows, :]", "", GRADIENTS | TORCH),
    (
        "attention blocks",
        attention_in_blocks,
        "total = total * shrunk",
        "total = total",
        {"exact", "causality", *TORCH},
    ),
    (
        "attention blocks, masked",
        attention_in_blocks,
        "rows.start - sight.context + 1",
        "rows.start - sight.context + 2",
        {"exact", "causality", *TORCH},
    ),
    (
        "attention blocks, masked",
        attention_in_blocks,
        "dk[..., columns, :] += ds.mT",
        "dk[..., columns, :] = ds.mT",
        {"exact", "autograd", *TORCH},
    ),
]


@pytest.mark.parametrize(("name", "module", "true", "false", "seers"), OPS)
def test_a_fault_in_an_op_is_seen(
    name: str,
    module: ModuleType,
    true: str,
    false: str,
    seers: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = module.__name__.rpartition(".")[2]
    monkeypatch.setattr(functions, called, planted(module, true, false))
    assert seen_by(BY_NAME[name], *seers, seeds=SOME) == seers


def test_a_fault_in_softmax_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(softmax, "(dp * p).sum(-1", "dp.sum(-1")
    monkeypatch.setattr(functions, "softmax_backward", wrong.softmax_backward)
    seers = GRADIENTS | TORCH
    assert seen_by(BY_NAME["softmax"], *seers) == seers


def test_a_softmax_of_other_shares_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reverse fits it: only another definition tells."""
    true = "e = (s - shift).exp()"
    monkeypatch.setattr(functions, "softmax", planted(softmax, true, f"{true} ** 2").softmax)
    assert seen_by(BY_NAME["softmax"], *TORCH) == TORCH


def test_a_fault_in_rotary_positions_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(places, "first * cos - second * sin", "first * cos + second * sin").rotate
    for module in (functions, positions):
        monkeypatch.setattr(module, "rotate", wrong)
    seers = {*GRADIENTS, "streaming"}
    assert seen_by(BY_NAME["rotary"], *seers) == seers


# In what autograd meets of a layer: the row, the module, the class, and so on. The op is true.
LAYERS = [
    ("embedding", embedding_layer, "_Embedded", "embed_backward(dx,", "embed_backward(2 * dx,"),
    ("mlp", window_layer, "_Windowed", "mlp.layer_backward(dh,", "mlp.layer_backward(h,"),
    (
        "cross-entropy",
        cross_entropy_layer,
        "_CrossEntropy",
        "backward(dlosses,",
        "backward(1 - dlosses,",
    ),
    ("layer norm", normalization, "_Normalised", "(unit, scale, gain)", "(unit, scale, gain + 1)"),
    ("attention", attention_layer, "Attention", "= ds.sum_to_size", "= 2 * ds.sum_to_size"),
]


@pytest.mark.parametrize(("name", "module", "kind", "true", "false"), LAYERS)
def test_a_fault_in_a_layer_is_seen(
    name: str,
    module: ModuleType,
    kind: str,
    true: str,
    false: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, kind, getattr(planted(module, true, false), kind))
    assert seen_by(BY_NAME[name], *TORCH) == TORCH


def test_a_fault_in_the_reverse_below_multi_head_attention_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = planted(attention, "ds, q) * scale", "ds, q)")
    monkeypatch.setattr(attention_layer, "attention", wrong)
    seers = {"finite diff.", "autograd", *TORCH}
    assert seen_by(BY_NAME["multi-head"], *seers) == seers


def test_a_fault_in_the_reverse_below_masked_heads_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = planted(
        attention_in_blocks, "dv[..., columns, :] += p.mT", "dv[..., columns, :] += 0 * p.mT"
    )
    monkeypatch.setattr(attention_layer, "attention_in_blocks", wrong)
    seers = {"finite diff.", "autograd", *TORCH}
    assert seen_by(BY_NAME["multi-head, masked"], *seers) == seers
    assert seen_by(BY_NAME["transformer"], *seers) == seers


# In multi-head attention: the method, what stands there, what instead, who sees it.
HEADS = [
    ("_projected", "inputs = (query, key, value)", "inputs = (query, value, key)", TORCH),
    ("_attended", "attend_and_tell(q, k, v,", "attend_and_tell(q, k, v.flip(1),", TORCH),
    (
        "_in_heads",
        "heads.transpose(1, 2).contiguous()",
        "heads.transpose(1, 2) + torch.arange(x.shape[1]).unsqueeze(-1)",
        {"causality", *TORCH},
    ),
]


@pytest.mark.parametrize(("method", "true", "false", "seers"), HEADS)
def test_a_fault_in_multi_head_attention_is_seen(
    method: str, true: str, false: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = planted(multihead_attention, true, false).MultiheadAttention
    monkeypatch.setattr(multihead_attention.MultiheadAttention, method, getattr(wrong, method))
    assert seen_by(BY_NAME["multi-head"], *seers) == seers


# In the transformer: the module, the method, what stands there, what instead, who sees it.
CAUSAL, BLOCK = "CausalSelfAttention.forward", "TransformerBlock.forward"
SIGHT = "Sight(self.context, first)"
TRANSFORMER = [
    (block, CAUSAL, SIGHT, "Sight(self.context + 1, first)", {"causality", *TORCH}),
    (block, CAUSAL, SIGHT, "Sight(None, first)", {"causality", "streaming", *TORCH}),
    (block, CAUSAL, "first = self.context - past.filled", "first = None", {"streaming"}),
    (block, CAUSAL, "if self.is_rotary:", "if False:", {"causality"}),
    (
        block,
        "CausalSelfAttention._turned",
        "slice(-q.shape[2], None)",
        "slice(0, q.shape[2])",
        {"streaming"},
    ),
    (block, "CausalSelfAttention._last", "(filled + steps)", "(filled + 1)", {"streaming"}),
    (block, BLOCK, "self.feed_forward_norm(x)", "self.attention_norm(x)", TORCH),
    (
        block,
        BLOCK,
        "x = x + self.dropout",
        "x = x.mean(1, True) + self.dropout",
        {"causality", "streaming", *TORCH},
    ),
    (
        transformer,
        "TransformerBody.forward",
        "Cache(state[0][layer]",
        "Cache(state[0][0]",
        {"streaming"},
    ),
    (
        transformer,
        "TransformerBody._placed",
        "state[2][0].unsqueeze(-1) +",
        "0 * state[2][0].unsqueeze(-1) +",
        {"streaming"},
    ),
]


@pytest.mark.parametrize(("module", "method", "true", "false", "seers"), TRANSFORMER)
def test_a_fault_in_the_transformer_is_seen(
    module: ModuleType,
    method: str,
    true: str,
    false: str,
    seers: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, name = method.split(".")
    wrong = getattr(getattr(planted(module, true, false), kind), name)
    monkeypatch.setattr(getattr(module, kind), name, wrong)
    assert seen_by(BY_NAME["transformer"], *seers, seeds=MORE) == seers


# In the body of the fixed window: what stands there, what instead, who sees it.
WINDOW = [
    ("seen[:, seen.shape[1] - self.n + 1 :]", "seen[:, : self.n - 1]", {"streaming"}),
    ("if state is None else state", "", {"streaming"}),
    ("self.n = config.context", "self.n = config.context + 1", {"causality"}),
]


@pytest.mark.parametrize(("true", "false", "seers"), WINDOW)
def test_a_fault_in_the_body_of_the_window_is_seen(
    true: str, false: str, seers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "WindowBody", planted(window, true, false).WindowBody)
    assert seen_by(BY_NAME["mlp"], *seers, seeds=MORE) == seers


def test_a_window_that_sees_what_is_later_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = planted(mlp, "k : k + steps] for", "k : k + steps].flip(1) for")
    monkeypatch.setattr(window_layer, "mlp", wrong)
    seers = {"causality", "streaming", *TORCH}
    assert seen_by(BY_NAME["mlp"], *seers, seeds=MORE) == seers
