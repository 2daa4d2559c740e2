"""What is asked of a mutant in a reverse of the recurrent families: are its gradients right?"""

from functools import partial
from typing import NamedTuple

import torch
from hunting import Ask, Namespace, is_right

from carousel.ops.recurrence import Family, Masks, Saved
from recurrences import (
    CASES,
    OURS,
    Case,
    Sizes,
    Tensors,
    Trial,
    by_loop,
    family,
    random_inputs,
    source,
    state,
    weights,
)

SIZES = Sizes(T=3, B=2, D=5, H=4, P=3)  # B below 3, the sizes all different: swapped axes show


class Question(NamedTuple):
    """A forward pass, the gradients that arrive at its end, and those that must come out."""

    case: Case
    masks: Masks
    inputs: Tensors
    trace: Saved
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


def ask_loop(asked: Question, namespace: Namespace) -> bool:
    """Tell whether the time loop in a namespace answers rightly."""
    return is_right(reversed_by(namespace, family(OURS, asked.case), asked), asked.want)


def ask_table(trial: Trial, namespace: Namespace) -> bool:
    """Tell whether a table of projections and its look-up are reversed rightly."""
    inputs, _ = random_inputs(trial, SIZES)
    true, ids = OURS["recurrence"], torch.tensor([[-1, 0, 2], [2, 1, 2]])
    p = {"x": inputs["x"].flatten(0, 1).detach().requires_grad_()}
    p |= {name: inputs[name] for name in ("w_ih", "b_ih", "gain") if name in inputs}
    table = true.project_embedding(true.DenseInput(**p))
    d = torch.randn(*ids.shape, table.shape[-1], generator=torch.Generator().manual_seed(5))
    want = torch.autograd.grad(
        true.project(true.EmbeddedInput(ids + 1, table)), list(p.values()), d.double()
    )
    still = {name: tensor.detach() for name, tensor in p.items()}
    tokens = namespace["DenseInput"](**still)
    source = namespace["EmbeddedInput"](ids + 1, table.detach())
    nothing, dtable = namespace["project_backward"](d.double(), source)
    found = namespace["project_embedding_backward"](dtable, tokens)._asdict()
    got = {name: tensor for name, tensor in found.items() if tensor is not None}
    return nothing is None and is_right(got, dict(zip(p, want, strict=True)))


def ask_step(asked: Question, namespace: Namespace) -> bool:
    """The same of a family's step."""
    step = namespace[asked.case.family]
    step = step._replace(step_backward=namespace[step.step_backward.__name__])
    return is_right(reversed_by(vars(OURS["recurrence"]), step, asked), asked.want)


REVERSES = {
    "recurrence": [
        *("backward", "project_backward", "multiply_backward", "project_embedding_backward"),
        *("_with_none", "_at", "_holds", "_released", "_kept", "_sum"),
    ],
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
    ask = ask_loop if module == "recurrence" else ask_step
    asked: list[Ask] = [
        partial(ask, question(Trial(CASES[name], bias, masked)))
        for name in ASKED[module]
        for bias, masked in ((True, True), (False, False), (True, False))
    ]
    if module == "recurrence":
        normalised, plain = Trial(CASES["lstm_layer_norm"]), Trial(CASES["rnn_tanh"], bias=False)
        asked += [partial(ask_table, trial) for trial in (normalised, plain)]
    return asked
