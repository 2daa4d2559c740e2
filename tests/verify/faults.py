"""Faults planted in a copy of an op, for checks that must see them."""

import inspect
from types import ModuleType

import pytest

from anchors import Edit, edited
from carousel.ops import gru, lstm, lstm_variants, rnn
from carousel.verify.op_spec import OPS
from carousel.verify.rows import ROWS
from carousel.verify.table import Check, Row, examine
from renaming import assert_names_do_not_matter

BY_NAME = {row.name: row for row in ROWS}
FEW = 2  # seeds


def seen_by(row: Row, *checks: str, seeds: int = FEW) -> set[str]:
    """Which of these checks fail."""
    return {name for name in checks if not examine(row, Check(name, seeds, "")).holds}


def plant(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *edits: Edit) -> None:
    """Let every OpSpec run a module of carousel.ops with something changed in it."""
    monkeypatch.setitem(OPS, module.__name__.rpartition(".")[2], planted(module, *edits))


def planted(module: ModuleType, *edits: Edit) -> ModuleType:
    source, changed = inspect.getsource(module), ModuleType(module.__name__)
    assert_names_do_not_matter(source, edits)
    exec(edited(source, edits, module.__name__), changed.__dict__)
    return changed


# A slip in each reverse: the variant that shows it, the module, and what is changed in it.
CACHE = "h_prev, c_prev, i, f, g, o, tanh_c, c = cache"
REVERSES = [
    ("rnn tanh", rnn, Edit("step_backward", "da = dh * slope", "da = dh")),
    ("rnn relu", rnn, Edit("step_relu", "h > 0", "h > -1")),
    (
        "gru",
        gru,
        Edit(
            "step_backward",
            "torch.cat([dr, dz, dn * r], dim=-1)",
            "torch.cat([dr, dz, dn], dim=-1)",
            label="gru.7",
        ),
    ),
    (
        "gru",
        gru,
        Edit("step_backward", "dn * u_n * r * (1 - r)", "dn * u_n * r", label="gru.6"),
    ),
    (
        "gru reset before",
        gru,
        Edit("step_reset_before_backward", "_ + dread * r", "_ + dread", given="dread = dn @ w_n"),
    ),
    (
        "lstm",
        lstm,
        Edit(
            "step_backward",
            "dc + dh * o * (1 - tanh_c * tanh_c)",
            "dc + dh * o",
            label="lstm.5",
        ),
    ),
    (
        "lstm",
        lstm,
        Edit(
            "step_backward",
            "dc * c_prev * f * (1 - f)",
            "dc * o * f * (1 - f)",
            given=CACHE,
        ),
    ),
    (
        "lstm",
        lstm,
        Edit(
            "step_backward",
            'WeightGradient("b_hh", da, None)',
            'WeightGradient("b_hh", 0 * da, None)',
        ),
    ),
    (
        "lstm peephole",
        lstm_variants,
        Edit(
            "step_with_options_backward",
            'dc + da_o * weights["w_co"]',
            'dc - da_o * weights["w_co"]',
            label="lstm.13",
        ),
    ),
    (
        "lstm peephole",
        lstm_variants,
        Edit(
            "step_with_options_backward",
            'WeightGradient("w_cf", da_f * c_prev, None)',
            'WeightGradient("w_cf", da_f * c, None)',
            given=CACHE,
        ),
    ),
    (
        "lstm projected",
        lstm_variants,
        Edit(
            "step_with_options_backward",
            'WeightGradient("w_hr", dh, o * tanh_c)',
            'WeightGradient("w_hr", dh, tanh_c)',
            given=CACHE,
        ),
    ),
    (
        "lstm, masked",
        lstm_variants,
        Edit(
            "step_with_options_backward",
            "da_g = dadded * i * _",
            "da_g = dc * i * _",
            given="dadded = dc if mask is None else dc * mask\n"
            "da = torch.cat([da_i, da_f, da_g, da_o], dim=-1)",
        ),
    ),
    (
        "lstm coupled",
        lstm_variants,
        Edit("step_coupled_backward", "dc * (g - c_prev) * i", "dc * g * i", label="lstm3.8"),
    ),
    (
        "lstm 1997",
        lstm_variants,
        Edit(
            "step_1997_backward",
            "return da, (dh_prev, dc), products",
            "return da, (dh_prev, 0 * dc), products",
        ),
    ),
    (
        "lstm layer norm",
        lstm_variants,
        Edit(
            "step_layer_norm_backward",
            'WeightGradient("gain_c", dv * unit_c, None)',
            'WeightGradient("gain_c", dv, None)',
            given="dv = dh * o * _",
        ),
    ),
]
