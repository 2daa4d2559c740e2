"""The OpSpecs of the recurrent families and their variants.

Letters: T time steps, B sequences, D input features, H units, G = gates · H, P features of the
hidden state (H, unless it is projected).
"""

import random
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from carousel.nn.parameters import IN_THE_LOOP
from carousel.ops.gru import GRU, GRU_RESET_BEFORE
from carousel.ops.lstm import LSTM
from carousel.ops.lstm_layer_norm import LSTM_LAYER_NORM
from carousel.ops.lstm_three_gates import LSTM_1997, LSTM_COUPLED
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, Masks, Saved, State, Weights
from carousel.ops.rnn import RNN_RELU, RNN_TANH
from carousel.verify.layers import Layer, make, named_state
from carousel.verify.op_spec import NOTHING, Case, Letters, Ops, OpSpec, Sizes, Tensors, nowhere

SOURCE = ("x", "w_ih", "b_ih", "gain")
STATE = ("h_0", "c_0")


@dataclass(frozen=True, kw_only=True)
class RecurrentSpec(OpSpec):
    """The OpSpec of a recurrent family in one variant, run by the time loop.

    Attributes:
        family: Its step and the backward pass of it.
        layer: What computes the same as a layer.
    """

    family: Family
    layer: Layer


HIDDEN = {"h_0": "BP"}
CELL = {"h_0": "BP", "c_0": "BH"}
WEIGHTS = {"w_ih": "GD", "b_ih": "G", "w_hh": "GP", "b_hh": "G"}
PEEPHOLES = {"w_ci": "H", "w_cf": "H", "w_co": "H"}
PROJECTION = {"w_hr": "PH"}
NORMS = {"gain": "G", "gain_hh": "G", "gain_c": "H", "shift_c": "H"}
HOLD_AND_H = {"hold_h": "TBP", "h": "BP"}
HOLD_C = {"hold_c": "TBH"}
CANDIDATE = {"candidate": "TBH"}


def recurrent_spec(
    name: str, family: Family, layer: Layer, state: Letters, weights: Letters = NOTHING
) -> RecurrentSpec:
    """Return the spec of a family whose step reads these weights beside those of every family."""
    return RecurrentSpec(
        name=name,
        module=module_of(family),
        sizes=partial(draw_sizes, family, "w_hr" in weights),
        data={"x": "TBD", **state},
        weights={**WEIGHTS, **weights},
        forward=partial(forward, family),
        backward=partial(backward, family),
        kink=kink if family.name == RNN_RELU.name else nowhere,
        reference=None if layer.not_in_torch else partial(by_torch, layer),
        family=family,
        layer=layer,
    )


def masked(spec: RecurrentSpec) -> RecurrentSpec:
    """Return the spec with all masks that its family takes."""
    masks = HOLD_AND_H | (HOLD_C if "c_0" in spec.data else {})
    masks |= CANDIDATE if spec.family is LSTM else {}
    return replace(spec, name=f"{spec.name}, masked", constants=masks, reference=None)


def draw_sizes(family: Family, is_projected: bool, rng: random.Random) -> Sizes:
    """Return sizes that all differ; T > 1."""
    h = rng.randint(3, 7)  # two units, normalised, are ±1 whatever they were
    t, b, d, p = rng.sample([size for size in range(2, 8) if size != h], 4)
    return {"T": t, "B": b, "D": d, "H": h} | {"P": p if is_projected else h, "G": family.gates * h}


def module_of(family: Family) -> str:
    """Return the module of carousel.ops that holds a family."""
    return family.step.__module__.rpartition(".")[2]


def family_in(ops: Ops, family: Family) -> Family:
    """Return a family as its module among these ops has it: under its name, in capitals."""
    member: Family = getattr(ops[module_of(family)], family.name.upper())
    return member


def forward(family: Family, case: Case) -> tuple[Tensors, Saved]:
    """Run the op's time loop: return y and the last state by name, and the trace."""
    source, state, weights = arguments(case.inputs)
    y, last, trace = case.ops["recurrence"].forward(
        family_in(case.ops, family), source, state, weights, _masks(case.constants)
    )
    return {"y": y, **dict(zip(("h_n", "c_n"), last, strict=False))}, trace


def backward(family: Family, case: Case, cotangents: Tensors, trace: Saved) -> Tensors:
    """Run the op's reverse."""
    _, state, weights = arguments(case.inputs)
    dstate = tuple(cotangents[name] for name in ("h_n", "c_n")[: len(state)])
    dsource, dstate, dweights = case.ops["recurrence"].backward(
        family_in(case.ops, family),
        cotangents["y"],
        dstate,
        trace,
        weights,
        _masks(case.constants),
    )
    found: Tensors = dict(zip(SOURCE, dsource, strict=True))
    found |= dweights | dict(zip(STATE, dstate, strict=False))
    return {name: d for name, d in found.items() if d is not None}


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
    trace = case.spec.forward(case)[1]
    projected = case.ops["recurrence"].project(trace.source).unbind(0)
    nearest: float = min(
        case.ops["rnn"].preactivation(a, h_prev, case.inputs).abs().min().item()
        for a, (h_prev, _) in zip(projected, trace.caches, strict=True)
    )
    return nearest


def by_torch(layer: Layer, case: Case) -> Tensors:
    """Run torch's layer on a case's tensors."""
    return torch_layer(layer, case, case.inputs["x"])


def torch_layer(layer: Layer, case: Case, x: Tensor) -> Tensors:
    """Run torch's layer on x, with a case's weights and initial state."""
    if "w_hr" in case.inputs:
        layer = layer._replace(options=layer.options | {"proj_size": case.sizes["P"]})
    d, h = (case.sizes[letter] for letter in "DH")
    with torch.device("meta"):
        theirs = make(nn, layer, d, h, dtype=x.dtype, bias="b_ih" in case.inputs)
    result = functional_call(theirs, layer_weights(case), (x, layer_state(case)), strict=True)
    return by_name(result)


def layer_weights(case: Case) -> Tensors:
    """Return a case's weights under the names that a layer gives them."""
    names = {"w_ih": "weight_ih", "b_ih": "bias_ih", "gain": "norm_ih"}
    names |= {op: name for name, op in IN_THE_LOOP.items()}
    return {f"{name}_l0": case.inputs[op] for op, name in names.items() if op in case.inputs}


def layer_state(case: Case) -> Any:
    """Return a case's initial state as a layer of one recurrence takes it."""
    state = [case.inputs[name].unsqueeze(0) for name in STATE if name in case.inputs]
    return tuple(state) if len(state) > 1 else state[0]


def by_name(result: Any) -> Tensors:
    """Return by name what a layer of one recurrence returns."""
    y, final = result
    state = named_state(final, "n")
    return {"y": y, **{name: part.squeeze(0) for name, part in state.items()}}


NO_PEEPHOLES = "it has no peepholes"
RECURRENCES = {
    "rnn_tanh": recurrent_spec(
        "rnn tanh", RNN_TANH, Layer("RNN", {"nonlinearity": "tanh"}, None), HIDDEN
    ),
    "rnn_relu": recurrent_spec(
        "rnn relu", RNN_RELU, Layer("RNN", {"nonlinearity": "relu"}, None), HIDDEN
    ),
    "gru": recurrent_spec("gru", GRU, Layer("GRU", {}, None), HIDDEN),
    "gru_reset_before": recurrent_spec(
        "gru reset before",
        GRU_RESET_BEFORE,
        Layer("GRU", {"reset_after": False}, "its GRU resets after the product"),
        HIDDEN,
    ),
    "lstm": recurrent_spec("lstm", LSTM, Layer("LSTM", {}, None), CELL),
    "lstm_peephole": recurrent_spec(
        "lstm peephole", LSTM, Layer("LSTM", {"peephole": True}, NO_PEEPHOLES), CELL, PEEPHOLES
    ),
    "lstm_projection": recurrent_spec(
        "lstm projected", LSTM, Layer("LSTM", {"proj_size": 2}, None), CELL, PROJECTION
    ),
    "lstm_peephole_projection": recurrent_spec(
        "lstm peep. proj.",
        LSTM,
        Layer("LSTM", {"peephole": True, "proj_size": 2}, NO_PEEPHOLES),
        CELL,
        PEEPHOLES | PROJECTION,
    ),
    "lstm_coupled": recurrent_spec(
        "lstm coupled",
        LSTM_COUPLED,
        Layer("LSTM", {"coupled": True}, "it has no coupled gates"),
        CELL,
    ),
    "lstm_1997": recurrent_spec(
        "lstm 1997",
        LSTM_1997,
        Layer("LSTM", {"forget_gate": False}, "its LSTM has a forget gate"),
        CELL,
    ),
    "lstm_layer_norm": recurrent_spec(
        "lstm layer norm",
        LSTM_LAYER_NORM,
        Layer("LSTM", {"layer_norm": True}, "it normalises no recurrence"),
        CELL,
        NORMS,
    ),
}
MASKED = {name: masked(spec) for name, spec in RECURRENCES.items()}
