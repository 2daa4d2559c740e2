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

from carousel.models.families import FAMILIES
from carousel.nn.parameters import IN_THE_LOOP
from carousel.ops.lstm import LSTM
from carousel.ops.lstm_variants import LSTM_WITH_OPTIONS
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, Masks, Saved, State, Weights
from carousel.ops.rnn import RNN_RELU
from carousel.verify.layers import Layer, make, named_state
from carousel.verify.op_spec import Case, Ops, OpSpec, Sizes, Tensors, nowhere

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
HOLD_AND_H = {"hold_h": "TBP", "h": "BP"}
HOLD_C = {"hold_c": "TBH"}
CANDIDATE = {"candidate": "TBH"}
OP_NAMES = {"weight_ih": "w_ih", "bias_ih": "b_ih", "norm_ih": "gain", **IN_THE_LOOP}
SHORT_NAMES = {"lstm projection": "lstm projected", "lstm peephole projection": "lstm peep. proj."}


def recurrent_spec(name: str, layer: Layer) -> RecurrentSpec:
    """Return the spec of a variant, as its layer describes it."""
    with torch.device("meta"):
        sample = layer.kind(5, 7, **layer.options)  # whose projection, if there is one, is to 2
    family, shown = sample.family, name.replace("_", " ")
    is_projected = sample.proj_size > 0
    rows = {7: "H", 2: "P"} | {family.gates * 7: "G"}  # by size
    columns = {5: "D", 7: "H" if is_projected else "P", 2: "P"}
    shapes = sample.parameter_shapes(5)
    first = [name for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh") if name in shapes]
    weights = {
        OP_NAMES.get(name, name): rows[shapes[name][0]]
        + "".join(columns[k] for k in shapes[name][1:])
        for name in dict.fromkeys([*first, *shapes])
    }
    return RecurrentSpec(
        name=SHORT_NAMES.get(shown, shown),
        module=module_of(family),
        sizes=partial(draw_sizes, family, is_projected),
        data={"x": "TBD", **(CELL if layer.has_cell else HIDDEN)},
        weights=weights,
        forward=partial(forward, family),
        backward=partial(backward, family),
        kink=kink if family.name == RNN_RELU.name else nowhere,
        reference=None if layer.not_in_torch else partial(by_torch, layer),
        family=family,
        layer=layer,
    )


def masked(spec: RecurrentSpec) -> RecurrentSpec:
    """Return the spec with all masks that its family takes; the LSTM's candidate has one, too."""
    masks = HOLD_AND_H | (HOLD_C if "c_0" in spec.data else {})
    if spec.family in (LSTM, LSTM_WITH_OPTIONS):
        masks |= CANDIDATE
        spec = replace(
            spec,
            module=module_of(LSTM_WITH_OPTIONS),
            forward=partial(forward, LSTM_WITH_OPTIONS),
            backward=partial(backward, LSTM_WITH_OPTIONS),
            family=LSTM_WITH_OPTIONS,
        )
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
    """Run the op's backward pass."""
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
    return {f"{name}_l0": case.inputs[op] for name, op in OP_NAMES.items() if op in case.inputs}


def layer_state(case: Case) -> Any:
    """Return a case's initial state as a layer of one recurrence takes it."""
    state = [case.inputs[name].unsqueeze(0) for name in STATE if name in case.inputs]
    return tuple(state) if len(state) > 1 else state[0]


def by_name(result: Any) -> Tensors:
    """Return by name what a layer of one recurrence returns."""
    y, final = result
    state = named_state(final, "n")
    return {"y": y, **{name: part.squeeze(0) for name, part in state.items()}}


RECURRENCES = {
    name: recurrent_spec(name, Layer(family.layer(), dict(options), family.not_in_torch.get(name)))
    for family in FAMILIES.values()
    if family.layer is not None
    for name, options in family.variants.items()
}
MASKED = {name: masked(spec) for name, spec in RECURRENCES.items()}
