"""Faults planted in a copy of an op, for checks that must see them."""

import inspect
from types import ModuleType

from carousel.ops import gru, lstm, lstm_layer_norm, lstm_three_gates, rnn
from carousel.verify.recurrences import VARIANTS
from carousel.verify.rows import ROWS, recurrent
from carousel.verify.table import Check, Row, examine

BY_NAME = {row.name: row for row in ROWS}
FEW = 2  # seeds


def seen_by(row: Row, *checks: str, seeds: int = FEW) -> set[str]:
    """Which of these checks fail."""
    return {name for name in checks if not examine(row, Check(name, seeds, "")).holds}


def faulty(name: str, module: ModuleType, true: str, false: str) -> Row:
    """Return the row of a recurrence, run by its module with one piece of the source changed."""
    (variant,) = (variant for variant in VARIANTS if variant.name == name)
    (family,) = (name for name, value in vars(module).items() if value is variant.family)
    return recurrent(variant._replace(family=getattr(planted(module, true, false), family)))


def planted(module: ModuleType, true: str, false: str) -> ModuleType:
    source = inspect.getsource(module)
    assert source.count(true) == 1, f"{true!r} must stand there once"
    changed = ModuleType(module.__name__)
    exec(source.replace(true, false), changed.__dict__)
    return changed


# A slip in each reverse: the variant that shows it, where it is, what stands there, what instead.
REVERSES = [
    ("rnn tanh", rnn, "da = dh * slope", "da = dh"),
    ("rnn relu", rnn, "(h > 0).to(h.dtype)", "(h > -1).to(h.dtype)"),
    ("gru", gru, "du = torch.cat([dr, dz, dn * r]", "du = torch.cat([dr, dz, dn]"),
    ("gru", gru, "dr = dn * u_n * r * (1 - r)", "dr = dn * u_n * r"),
    ("gru reset before", gru, "dread * r + dr @ w_r", "dread + dr @ w_r"),
    ("lstm", lstm, "dc + dh * o * (1 - tanh_c * tanh_c)", "dc + dh * o"),
    ("lstm", lstm, "da_f = dc * c_prev * f", "da_f = dc * c * f"),
    (
        "lstm",
        lstm,
        'products.append(Product("b_hh", da, None))',
        'products.append(Product("b_hh", 0 * da, None))',
    ),
    ("lstm peephole", lstm, "dc = dc + da_o * weights", "dc = dc - da_o * weights"),
    (
        "lstm peephole",
        lstm,
        'Product("w_cf", da_f * c_prev, None)',
        'Product("w_cf", da_f * c, None)',
    ),
    ("lstm projected", lstm, 'Product("w_hr", dh, o * tanh_c)', 'Product("w_hr", dh, tanh_c)'),
    ("lstm, masked", lstm, "da_g = dadded * i", "da_g = dc * i"),
    ("lstm coupled", lstm_three_gates, "(g - c_prev) * i * (1 - i)", "g * i * (1 - i)"),
    (
        "lstm 1997",
        lstm_three_gates,
        "return da, (dh_prev, dc), products",
        "return da, (dh_prev, 0 * dc), products",
    ),
    (
        "lstm layer norm",
        lstm_layer_norm,
        'Product("gain_c", dv * unit_c, None)',
        'Product("gain_c", dv, None)',
    ),
]
