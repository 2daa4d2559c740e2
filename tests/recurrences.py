"""Every recurrent family and variant as a case: its inputs, and the ways to run it.

A way to run takes the code that it examines: the true one, or one with a fault planted in it.
"""

import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from anchors import Edit, edited
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, Masks, State, Weights

Tensors = dict[str, Tensor]  # by the ops' names: x, w_ih, b_ih, gain, h_0, c_0, w_hh, …
Code = dict[str, ModuleType]  # the modules of carousel.ops, by name

MODULES = ("layer_norm", "recurrence", "rnn", "gru", "lstm", "lstm_three_gates", "lstm_layer_norm")
OURS: Code = {name: importlib.import_module(f"carousel.ops.{name}") for name in MODULES}


class Sizes(NamedTuple):
    """All different: a swapped axis cannot pass unseen. P is the output's width if projected."""

    T: int
    B: int
    D: int
    H: int
    P: int


SIZES = Sizes(T=4, B=3, D=5, H=6, P=2)
TINY = Sizes(T=3, B=2, D=1, H=4, P=3)  # for finite differences, which cost a run per number


NOTHING: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    """A family in one of its variants; extras are weights beside w_ih, w_hh and the biases."""

    name: str
    module: str
    family: str
    state: tuple[str, ...] = ("h_0", "c_0")
    extras: Mapping[str, str] = NOTHING  # name → shape, in letters
    torch_class: type[torch.nn.RNNBase] | None = None
    torch_settings: Mapping[str, Any] = NOTHING


PEEPHOLES = {"w_ci": "H", "w_cf": "H", "w_co": "H"}
PROJECTION = {"w_hr": "PH"}
NORMS = {"gain": "G", "gain_hh": "G", "gain_c": "H", "shift_c": "H"}
RELU = {"nonlinearity": "relu"}
CASES = {
    case.name: case
    for case in (
        Case("rnn_tanh", "rnn", "RNN_TANH", ("h_0",), NOTHING, torch.nn.RNN),
        Case("rnn_relu", "rnn", "RNN_RELU", ("h_0",), NOTHING, torch.nn.RNN, RELU),
        Case("gru", "gru", "GRU", ("h_0",), NOTHING, torch.nn.GRU),
        Case("gru_reset_before", "gru", "GRU_RESET_BEFORE", ("h_0",)),
        Case("lstm", "lstm", "LSTM", torch_class=torch.nn.LSTM),
        Case("lstm_peephole", "lstm", "LSTM", extras=PEEPHOLES),
        Case("lstm_projection", "lstm", "LSTM", extras=PROJECTION, torch_class=torch.nn.LSTM),
        Case("lstm_peephole_projection", "lstm", "LSTM", extras=PEEPHOLES | PROJECTION),
        Case("lstm_1997", "lstm_three_gates", "LSTM_1997"),
        Case("lstm_coupled", "lstm_three_gates", "LSTM_COUPLED"),
        Case("lstm_layer_norm", "lstm_layer_norm", "LSTM_LAYER_NORM", extras=NORMS),
    )
}


class Trial(NamedTuple):
    """A case, with or without biases, with or without masks."""

    case: Case
    bias: bool = True
    masked: bool = False

    def __str__(self) -> str:
        parts = self.case.name, "" if self.bias else "no bias", "masks" if self.masked else ""
        return ", ".join(part for part in parts if part)


def shapes(case: Case, sizes: Sizes, *, bias: bool) -> dict[str, tuple[int, ...]]:
    letters = sizes._asdict()
    letters["G"] = getattr(OURS[case.module], case.family).gates * sizes.H
    letters["P"] = sizes.P if "w_hr" in case.extras else sizes.H
    named = {"x": "TBD", "w_ih": "GD", "h_0": "BP"} | ({"c_0": "BH"} if len(case.state) > 1 else {})
    named |= {"w_hh": "GP"} | case.extras | ({"b_ih": "G", "b_hh": "G"} if bias else {})
    return {name: tuple(letters[letter] for letter in axes) for name, axes in named.items()}


def random_inputs(
    trial: Trial, sizes: Sizes = SIZES, dtype: torch.dtype = torch.float64, *, zero: bool = False
) -> tuple[Tensors, Masks]:
    """Nothing is zero: a bias left at zero hides a missing bias. Unless asked: then the state is.

    A zero state is one more trial, since what a step does at such a state may be a special case.
    """
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        * (0 if zero and name in trial.case.state else 1)
        for name, shape in shapes(trial.case, sizes, bias=trial.bias).items()
    }
    inputs = {name: tensor.to(dtype).requires_grad_() for name, tensor in tensors.items()}
    return inputs, random_masks(trial, sizes, dtype) if trial.masked else NO_MASKS


def random_masks(trial: Trial, sizes: Sizes, dtype: torch.dtype) -> Masks:
    """No value is 0 or 1, so that nothing is cut off; each part of the state has its own mask."""
    generator = torch.Generator().manual_seed(4)
    width = sizes.P if "w_hr" in trial.case.extras else sizes.H

    def between(low: float, high: float, *shape: int) -> Tensor:
        unit = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * unit).to(dtype)

    hold_h = between(0.1, 0.9, sizes.T, sizes.B, width)
    hold_c = between(0.1, 0.9, sizes.T, sizes.B, 1)  # of a whole row, as where a sequence ends
    return Masks(
        hold=(hold_h, hold_c)[: len(trial.case.state)],
        h=between(0.5, 1.5, sizes.B, width),
        candidate=between(0.5, 1.5, sizes.T, sizes.B, sizes.H)
        if trial.case.family == "LSTM"  # the one family that has recurrent dropout
        else None,
    )


def source(p: Tensors) -> DenseInput:
    return DenseInput(p["x"], p["w_ih"], p.get("b_ih"), p.get("gain"))


def state(p: Tensors) -> State:
    return tuple(p[name] for name in ("h_0", "c_0") if name in p)


def weights(p: Tensors) -> Weights:
    outside = {"x", *DenseInput._fields, "h_0", "c_0"}
    return {name: tensor for name, tensor in p.items() if name not in outside}


def family(code: Code, case: Case) -> Family:
    found: Family = getattr(code[case.module], case.family)
    return found


def named(y: Tensor, last: State) -> Tensors:
    return {"y": y} | dict(zip(("h_n", "c_n"), last, strict=False))


def by_loop(code: Code, case: Case, p: Tensors, masks: Masks) -> Tensors:
    """The time loop, which torch differentiates."""
    run = code["recurrence"].forward
    y, last, _ = run(family(code, case), source(p), state(p), weights(p), masks)
    return named(y, last)


def by_hand(code: Code, case: Case, p: Tensors, masks: Masks) -> Tensors:
    """The same with the hand-derived reverse: autograd sees one function."""
    y, *last = HandDerived.apply(code, case, masks, tuple(p), *p.values())
    return named(y, tuple(last))


class HandDerived(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, code: Code, case: Case, masks: Masks, names: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        p = dict(zip(names, tensors, strict=True))
        ctx.loop, ctx.family = code["recurrence"], family(code, case)
        ctx.names, ctx.weights, ctx.masks = names, weights(p), masks
        y, last, ctx.trace = ctx.loop.forward(ctx.family, source(p), state(p), ctx.weights, masks)
        return y, *last

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *dlast: Tensor) -> tuple[Tensor | None, ...]:
        dsource, dstate, dweights = ctx.loop.backward(
            ctx.family, dy, dlast, ctx.trace, ctx.weights, ctx.masks
        )
        found = dsource._asdict() | dict(zip(("h_0", "c_0"), dstate, strict=False)) | dweights
        return None, None, None, None, *(found[name] for name in ctx.names)


def by_torch(case: Case, p: Tensors) -> Tensors:
    """The namesake in torch.nn, on the same tensors."""
    settings = case.torch_settings
    if "w_hr" in p:
        settings = settings | {"proj_size": p["w_hr"].shape[0]}
    (_, width), hidden = p["w_ih"].shape, p["w_ih"].shape[0] // family(OURS, case).gates
    theirs = case.torch_class(width, hidden, bias="b_ih" in p, dtype=p["x"].dtype, **settings)
    own = {
        name.replace("w_", "weight_").replace("b_", "bias_") + "_l0": tensor
        for name, tensor in p.items()
        if name not in ("x", "h_0", "c_0")
    }
    first = tuple(s.unsqueeze(0) for s in state(p))
    given = first if len(first) > 1 else first[0]
    with warnings.catch_warnings():  # it says that oneDNN has no projection in single precision
        warnings.filterwarnings("ignore", message="LSTM with projections")
        y, last = torch.func.functional_call(theirs, own, (p["x"], given))
    return named(y, tuple(s.squeeze(0) for s in (last if len(first) > 1 else (last,))))


def with_gradients(outputs: Tensors, inputs: Tensors) -> Tensors:
    """The outputs, and the gradients of a random weighted sum of them to every input."""
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype) * y).sum()
        for y in outputs.values()
    )
    gradients = torch.autograd.grad(loss, list(inputs.values()), materialize_grads=True)
    return outputs | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def planted(module: str, *edits: Edit) -> Code:
    """The ops with one module changed; what imports that module sees the fault."""
    text = edited(inspect.getsource(OURS[module]), edits, f"{module}.py")
    code = OURS | {module: executed(module, text)}
    if module == "layer_norm":
        with patch.dict(sys.modules, {"carousel.ops.layer_norm": code["layer_norm"]}):
            for name in ("recurrence", "lstm_layer_norm"):
                code[name] = executed(name, inspect.getsource(OURS[name]))
    return code


def executed(name: str, text: str) -> ModuleType:
    module = ModuleType(f"carousel.ops.{name}")
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module
