"""Mutants of the hand-written reverses, and which of them survive a look at their gradients."""

import ast
import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from mutations import Mutation, mutations

from carousel.ops.recurrence import Family, Masks, Trace
from recurrences import (
    CASES,
    OURS,
    Case,
    Sizes,
    Tensors,
    Trial,
    by_loop,
    executed,
    family,
    random_inputs,
    source,
    state,
    weights,
)

SIZES = Sizes(T=3, B=2, D=5, H=4, P=3)  # B below 3, the sizes all different: swapped axes show
Namespace = dict[str, Any]
Ask = Callable[[Namespace], bool]  # whether what stands in a namespace answers a question rightly


class Question(NamedTuple):
    """A forward pass, the gradients that arrive at its end, and those that must come out."""

    case: Case
    masks: Masks
    inputs: Tensors
    trace: Trace
    darriving: Tensors
    want: Tensors


def question(trial: Trial) -> Question:
    inputs, masks = random_inputs(trial, SIZES)
    outputs = by_loop(OURS, trial.case, inputs, masks)
    generator = torch.Generator().manual_seed(2)
    darriving = {
        name: torch.randn(y.shape, generator=generator, dtype=y.dtype)
        for name, y in outputs.items()
    }
    for d in darriving.values():  # nothing arrives at the last step of one row: no reverse divides
        d.view(-1, SIZES.B, d.shape[-1])[-1, 0] = 0
    gradients = torch.autograd.grad(
        list(outputs.values()), list(inputs.values()), list(darriving.values())
    )
    p = {name: tensor.detach() for name, tensor in inputs.items()}
    run = OURS["recurrence"].forward
    _, _, trace = run(family(OURS, trial.case), source(p), state(p), weights(p), masks)
    return Question(
        trial.case, masks, p, trace, darriving, dict(zip(inputs, gradients, strict=True))
    )


def reversed_by(loop: Namespace, step: Family, asked: Question) -> Tensors:
    """The gradients that a time loop and a family's reverse give."""
    dy, *dlast = asked.darriving.values()
    dsource, dstate, dweights = loop["backward"](
        step, dy, tuple(dlast), asked.trace, weights(asked.inputs), asked.masks
    )
    outside = {name: d for name, d in dsource._asdict().items() if d is not None}
    return outside | dict(zip(("h_0", "c_0"), dstate, strict=False)) | dweights


def is_right(got: Tensors, want: Tensors) -> bool:
    return got.keys() == want.keys() and all(
        got[name].shape == d.shape and (got[name] - d).norm() <= 1e-9 * d.norm()
        for name, d in want.items()
    )


def ask_loop(asked: Question, namespace: Namespace) -> bool:
    """Tell whether the time loop in a namespace answers rightly."""
    return is_right(reversed_by(namespace, family(OURS, asked.case), asked), asked.want)


def ask_step(asked: Question, namespace: Namespace) -> bool:
    """The same of a family's step."""
    step = namespace[asked.case.family]
    step = step._replace(step_backward=namespace[step.step_backward.__name__])
    return is_right(reversed_by(vars(OURS["recurrence"]), step, asked), asked.want)


def ask_layer_norm(namespace: Namespace) -> bool:
    """The same of layer normalisation, whose reverse knows no time."""
    generator = torch.Generator().manual_seed(5)
    u, d = torch.randn(2, 3, 2, 5, generator=generator, dtype=torch.float64).unbind()
    unit, scale = OURS["layer_norm"].normalise(u.requires_grad_())
    (want,) = torch.autograd.grad(unit, u, d)
    got = namespace["normalise_backward"](d, unit.detach(), scale.detach())
    return is_right({"u": got}, {"u": want})


REVERSES = {
    "recurrence": ["backward", "project_backward", "_at", "_holds", "_released", "_kept", "_sum"],
    "layer_norm": ["normalise_backward"],
    "rnn": ["step_backward"],
    "gru": ["step_backward", "step_reset_before_backward"],
    "lstm": ["step_backward"],
    "lstm_three_gates": ["step_1997_backward", "step_coupled_backward", "gates_backward"],
    "lstm_layer_norm": ["step_backward"],
}
ASKED = {  # everything there is, and nothing but what must be
    "recurrence": ["lstm_layer_norm", "lstm_peephole_projection", "rnn_tanh"],
    "rnn": ["rnn_tanh"],
    "gru": ["gru", "gru_reset_before"],
    "lstm": ["lstm_peephole_projection", "lstm_peephole", "lstm_projection", "lstm"],
    "lstm_three_gates": ["lstm_1997", "lstm_coupled"],
    "lstm_layer_norm": ["lstm_layer_norm"],
}


def questions(module: str) -> list[Ask]:
    """With biases and masks, and without; the two apart, where a mask is a weight among others."""
    if module == "layer_norm":
        return [ask_layer_norm]
    ask = ask_loop if module == "recurrence" else ask_step
    return [
        partial(ask, question(Trial(CASES[name], bias, masked)))
        for name in ASKED[module]
        for bias, masked in ((True, True), (False, False), (True, False))
    ]


class Mutant(NamedTuple):
    """A mutation, and whether the right gradients still come out."""

    module: str
    function: str
    mutation: Mutation
    survives: bool


def hunt(module: str) -> Iterator[Mutant]:
    """Make every mutant of a module's reverses, one at a time, and ask it."""
    text = inspect.getsource(OURS[module])
    functions = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    namespace = vars(executed(module, text))
    asked = questions(module)
    for name in REVERSES[module]:
        true = namespace[name]
        for mutation in mutations(functions[name]):
            if mutation.was != mutation.becomes:  # as where two equal entries of a list are swapped
                yield Mutant(module, name, mutation, survives(functions[name], namespace, asked))
        namespace[name] = true


def survives(function: ast.FunctionDef, namespace: Namespace, asked: list[Ask]) -> bool:
    """Put a function in the place of its namesake, and ask. What breaks down does not survive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a deprecated use of a tensor is no answer
        try:
            exec(compiled(function), namespace)
            return all(ask(namespace) for ask in asked)
        except Exception:
            return False


def compiled(function: ast.FunctionDef) -> Any:
    module = ast.Module([function], type_ignores=[])
    return compile(ast.fix_missing_locations(module), "mutant", "exec")
