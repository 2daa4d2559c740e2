"""The recurrent families with their variants, as subjects.

Letters: T time steps, B sequences, D input features, H units, G = gates · H, P features of the
hidden state (H, unless it is projected).
"""

import random
from functools import partial
from typing import NamedTuple

from carousel.ops import recurrence, rnn
from carousel.ops.gru import GRU, GRU_RESET_BEFORE
from carousel.ops.lstm import LSTM
from carousel.ops.lstm_layer_norm import LSTM_LAYER_NORM
from carousel.ops.lstm_three_gates import LSTM_1997, LSTM_COUPLED
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, Masks, Saved, State, Weights
from carousel.ops.rnn import RNN_RELU, RNN_TANH
from carousel.verify.cases import NOTHING, Case, Letters, Sizes, Subject, Tensors, nowhere

SOURCE = ("x", "w_ih", "b_ih", "gain")
STATE = ("h_0", "c_0")


class Variant(NamedTuple):
    """A family, the tensors that it takes beside those of all, and the masks."""

    name: str
    family: Family
    state: Letters
    weights: Letters
    masks: Letters


HIDDEN = {"h_0": "BP"}
CELL = {"h_0": "BP", "c_0": "BH"}
WEIGHTS = {"w_ih": "GD", "b_ih": "G", "w_hh": "GP", "b_hh": "G"}
PEEPHOLES = {"w_ci": "H", "w_cf": "H", "w_co": "H"}
PROJECTION = {"w_hr": "PH"}
NORMS = {"gain": "G", "gain_hh": "G", "gain_c": "H", "shift_c": "H"}
HOLD_AND_H = {"hold_h": "TBP", "h": "BP"}
HOLD_C = {"hold_c": "TBH"}
CANDIDATE = {"candidate": "TBH"}


def _rows(
    name: str, family: Family, state: Letters, weights: Letters, masks: Letters
) -> list[Variant]:
    """Return the variant without masks, and with all that it has."""
    weights = {**WEIGHTS, **weights}
    return [
        Variant(name, family, state, weights, NOTHING),
        Variant(f"{name}, masked", family, state, weights, {**HOLD_AND_H, **masks}),
    ]


VARIANTS = [
    *_rows("rnn tanh", RNN_TANH, HIDDEN, {}, {}),
    *_rows("rnn relu", RNN_RELU, HIDDEN, {}, {}),
    *_rows("gru", GRU, HIDDEN, {}, {}),
    *_rows("gru reset before", GRU_RESET_BEFORE, HIDDEN, {}, {}),
    *_rows("lstm", LSTM, CELL, {}, HOLD_C | CANDIDATE),
    *_rows("lstm peephole", LSTM, CELL, PEEPHOLES, HOLD_C | CANDIDATE),
    *_rows("lstm projected", LSTM, CELL, PROJECTION, HOLD_C | CANDIDATE),
    *_rows("lstm peep. proj.", LSTM, CELL, PEEPHOLES | PROJECTION, HOLD_C | CANDIDATE),
    *_rows("lstm coupled", LSTM_COUPLED, CELL, {}, HOLD_C),
    *_rows("lstm 1997", LSTM_1997, CELL, {}, HOLD_C),
    *_rows("lstm layer norm", LSTM_LAYER_NORM, CELL, NORMS, HOLD_C),
]


def subject(variant: Variant) -> Subject:
    """Return the time loop of a family and its reverse."""
    return Subject(
        name=variant.name,
        sizes=partial(draw_sizes, variant),
        data={"x": "TBD", **variant.state},
        weights=variant.weights,
        forward=partial(forward, variant.family),
        backward=partial(backward, variant.family),
        constants=variant.masks,
        kink=kink if variant.family.name == "rnn_relu" else nowhere,
    )


def draw_sizes(variant: Variant, rng: random.Random) -> Sizes:
    """Return sizes that all differ; T > 1."""
    h = rng.randint(3, 7)  # two units, normalised, are ±1 whatever they were
    t, b, d, p = rng.sample([size for size in range(2, 8) if size != h], 4)
    p = p if "w_hr" in variant.weights else h
    return {"T": t, "B": b, "D": d, "H": h, "P": p, "G": variant.family.gates * h}


def forward(family: Family, case: Case) -> tuple[Tensors, Saved]:
    """Run the op's time loop: return y and the last state by name, and the trace."""
    y, last, trace = recurrence.forward(family, *arguments(case.inputs), _masks(case.constants))
    return {"y": y, **dict(zip(("h_n", "c_n"), last, strict=False))}, trace


def backward(family: Family, case: Case, cotangents: Tensors, trace: Saved) -> Tensors:
    """Run the op's reverse."""
    _, state, weights = arguments(case.inputs)
    dstate = tuple(cotangents[name] for name in ("h_n", "c_n")[: len(state)])
    dsource, dstate, dweights = recurrence.backward(
        family, cotangents["y"], dstate, trace, weights, _masks(case.constants)
    )
    found = dict(zip(SOURCE, dsource, strict=True)) | dict(zip(STATE, dstate, strict=False))
    return {name: d for name, d in found.items() if d is not None} | dweights


def arguments(inputs: Tensors) -> tuple[DenseInput, State, Weights]:
    """Return inputs as the op takes them."""
    source = DenseInput(*(inputs.get(name) for name in SOURCE))  # type: ignore[arg-type]
    state = tuple(inputs[name] for name in STATE if name in inputs)
    weights = {name: w for name, w in inputs.items() if name not in SOURCE + STATE}
    return source, state, weights


def _masks(masks: Tensors) -> Masks:
    hold = (masks.get("hold_h"), masks.get("hold_c"))
    return Masks(hold, masks.get("h"), masks.get("candidate")) if masks else NO_MASKS


def kink(case: Case) -> float:
    """Return how near any ReLU is to its kink."""
    trace = case.subject.forward(case)[1]
    projected = recurrence.project(trace.source).unbind(0)
    return min(
        rnn.preactivation(a, h_prev, case.inputs).abs().min().item()
        for a, (h_prev, _) in zip(projected, trace.caches, strict=True)
    )
