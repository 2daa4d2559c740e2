"""Each family as its paper writes it: gate by gate, a weight matrix each, one time step at a time.

Written apart from src/, to be held against it where torch.nn has no such layer. torch
differentiates it.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn.functional import layer_norm

from carousel.ops.recurrence import State
from carousel.verify.op_spec import Case, Tensors
from carousel.verify.recurrences import RECURRENCES

ROOT = Path(__file__).parents[1]

Step = Callable[[Tensors, Tensor, State, Tensor | float], State]  # weights, x_t, state, dropout


def by_definition(name: str, case: Case) -> Tensors:
    """Run a family's definition over time, under the masks of a case."""
    p, masks, definition = case.inputs, case.constants, definition_of(name)
    s, outputs = tuple(p[name] for name in ("h_0", "c_0") if name in p), []
    for t in range(len(p["x"])):
        dropout = masks["candidate"][t] if "candidate" in masks else 1.0
        read = (masks["h"] * s[0] if "h" in masks else s[0], *s[1:])
        new = definition(p, p["x"][t], read, dropout)
        holds = (masks.get("hold_h"), masks.get("hold_c"))
        s = tuple(
            fresh if hold is None else torch.lerp(fresh, old, hold[t].expand_as(fresh))
            for fresh, old, hold in zip(new, s, holds, strict=False)
        )
        outputs.append(s[0])
    return {"y": torch.stack(outputs)} | dict(zip(("h_n", "c_n"), s, strict=False))


@cache
def definition_of(name: str) -> Step:
    """The step of a variant as written here, or by `definition` on the page of its equations."""
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    page = ROOT / "math" / RECURRENCES[name].module / "equations.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    (block,) = (block for block in blocks if "\ndef definition(" in block)
    namespace: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), namespace)
    step: Step = namespace["definition"]
    return step


def part(p: Tensors, name: str, k: int, gates: int) -> Tensor:
    """The k-th gate's part of a packed weight; 0 where there is no such bias."""
    return p[name].chunk(gates)[k] if name in p else torch.zeros((), dtype=p["x"].dtype)


def from_input(p: Tensors, gates: int, x: Tensor, k: int) -> Tensor:
    return torch.einsum("jd,bd->bj", part(p, "w_ih", k, gates), x) + part(p, "b_ih", k, gates)


def from_state(p: Tensors, gates: int, h: Tensor, k: int) -> Tensor:
    return torch.einsum("jk,bk->bj", part(p, "w_hh", k, gates), h) + part(p, "b_hh", k, gates)


def rnn(act: Callable[[Tensor], Tensor], p: Tensors, x: Tensor, s: State, _: object) -> State:
    return (act(from_input(p, 1, x, 0) + from_state(p, 1, s[0], 0)),)


def gru(after: bool, p: Tensors, x: Tensor, s: State, _: object) -> State:
    (h,) = s
    own, recurrent = partial(from_input, p, 3, x), partial(from_state, p, 3)
    r, z = sigmoid(own(0) + recurrent(h, 0)), sigmoid(own(1) + recurrent(h, 1))
    n = tanh(own(2) + (r * recurrent(h, 2) if after else recurrent(r * h, 2)))
    return ((1 - z) * n + z * h,)


def lstm(p: Tensors, x: Tensor, s: State, dropout: Tensor | float) -> State:
    h, c_old = s
    i, f, g, o = (from_input(p, 4, x, k) + from_state(p, 4, h, k) for k in range(4))
    if "w_ci" in p:
        i, f = i + p["w_ci"] * c_old, f + p["w_cf"] * c_old
    c = sigmoid(f) * c_old + sigmoid(i) * (dropout * tanh(g))
    o = o + p["w_co"] * c if "w_co" in p else o
    h = sigmoid(o) * tanh(c)
    return (torch.einsum("ph,bh->bp", p["w_hr"], h) if "w_hr" in p else h), c


def lstm_three_gates(coupled: bool, p: Tensors, x: Tensor, s: State, _: object) -> State:
    h, c_old = s
    i, g, o = (from_input(p, 3, x, k) + from_state(p, 3, h, k) for k in range(3))
    f = 1 - sigmoid(i) if coupled else 1
    c = f * c_old + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def lstm_layer_norm(p: Tensors, x: Tensor, s: State, _: object) -> State:
    h, c_old = s
    packed = len(p["gain"])
    a = layer_norm(x @ p["w_ih"].T, [packed], p["gain"], p.get("b_ih"))
    a = a + layer_norm(h @ p["w_hh"].T, [packed], p["gain_hh"], p.get("b_hh"))
    i, f, g, o = a.chunk(4, dim=1)
    c = sigmoid(f) * c_old + sigmoid(i) * tanh(g)
    out = layer_norm(c, [c.shape[1]], p["gain_c"], p["shift_c"])
    return sigmoid(o) * tanh(out), c


DEFINITIONS: dict[str, Step] = {
    "rnn_tanh": partial(rnn, tanh),
    "rnn_relu": partial(rnn, torch.relu),
    "gru": partial(gru, True),
    "gru_reset_before": partial(gru, False),
    "lstm": lstm,
    "lstm_peephole": lstm,
    "lstm_projection": lstm,
    "lstm_peephole_projection": lstm,
    "lstm_1997": partial(lstm_three_gates, False),
    "lstm_coupled": partial(lstm_three_gates, True),
    "lstm_layer_norm": lstm_layer_norm,
}
