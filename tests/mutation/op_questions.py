"""What is asked of a mutant in a reverse of the ops: are its gradients right?"""

from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from mutation_runner import Ask, Namespace, functions_of, is_right

from carousel.ops.attention import AttentionMask
from carousel.verify.op_spec import OPS, Case, Sizes, Tensors, backward, forward
from carousel.verify.recurrences import RECURRENCES, RecurrentSpec
from op_checks import detached
from op_definitions import sees
from op_trials import FUNCTIONS, TRIALS, Scale, Trial, case_of, normal, recurrent

SCALE = Scale(
    {"T": 3, "B": 2, "D": 5, "H": 4, "P": 3},  # B below 3: swapped axes show
    {"B": 2, "N": 3, "T": 5, "S": 8, "K": 4, "M": 6, "V": 6, "D": 10, "H": 9, "O": 3, "U": 2},
)


class Question(NamedTuple):
    """A forward pass, the gradients that arrive at its end, and those that must come out."""

    case: Case
    trace: Any
    arriving: Tensors
    want: Tensors


def question(trial: Trial, *arriving: str) -> Question:
    """Ask for the gradients of some outputs; of all, if none is named."""
    case = case_of(trial, scale=SCALE)
    outputs = {name: y for name, y in forward(case)[0].items() if name in arriving or not arriving}
    cotangents = {name: normal(*y.shape, seed=2) for name, y in outputs.items()}
    if isinstance(trial.spec, RecurrentSpec):
        for d in cotangents.values():  # nothing arrives at the end of one row: no reverse divides
            d.view(-1, case.sizes["B"], d.shape[-1])[-1, 0] = 0
    gradients = torch.autograd.grad(
        list(outputs.values()), list(case.inputs.values()), list(cotangents.values())
    )
    still = detached(case)
    trace = forward(still)[1]
    return Question(still, trace, cotangents, dict(zip(case.inputs, gradients, strict=True)))


def ask(asked: Question, module: str, namespace: Namespace) -> bool:
    """Tell whether a module's reverse, as it stands in a namespace, answers rightly.

    It gets copies: a mutant may add to what it should only read.
    """
    code = SimpleNamespace(**namespace | current_families(namespace))
    arriving, trace, constants = deepcopy((asked.arriving, asked.trace, asked.case.constants))
    case = asked.case._replace(constants=constants, ops=OPS | {module: code})
    return is_right(backward(case, arriving, trace), asked.want)


def current_families(namespace: Namespace) -> Namespace:
    """Return the families of a namespace with the steps that stand there now."""
    return {
        name: family._replace(step_backward=namespace[family.step_backward.__name__])
        for name, family in namespace.items()
        if isinstance(family, OPS["recurrence"].Family)
    }


def ask_table(trial: Trial, namespace: Namespace) -> bool:
    """Tell whether a table of projections and its look-up are reversed rightly."""
    inputs = case_of(trial, scale=SCALE).inputs
    true, ids = OPS["recurrence"], torch.tensor([[-1, 0, 2], [2, 1, 2]])
    p = {"x": inputs["x"].flatten(0, 1).detach().requires_grad_()}
    p |= {name: inputs[name] for name in ("w_ih", "b_ih", "gain") if name in inputs}
    table = true.project_embedding(true.DenseInput(**p))
    d = normal(*ids.shape, table.shape[-1], seed=5)
    want = torch.autograd.grad(
        true.project(true.EmbeddedInput(ids + 1, table)), list(p.values()), d
    )
    still = {name: tensor.detach() for name, tensor in p.items()}
    tokens = namespace["DenseInput"](**still)
    source = namespace["EmbeddedInput"](ids + 1, table.detach())
    nothing, dtable = namespace["project_backward"](d, source)
    found = namespace["project_embedding_backward"](dtable, tokens)._asdict()
    got = {name: tensor for name, tensor in found.items() if tensor is not None}
    return nothing is None and is_right(got, dict(zip(p, want, strict=True)))


def ask_normalise(namespace: Namespace) -> bool:
    """The same of normalisation alone, which the recurrent families call."""
    u, d = normal(3, 2, 5, seed=5).requires_grad_(), normal(3, 2, 5, seed=6)
    unit, scale = OPS["layer_norm"].normalise(u)
    (want,) = torch.autograd.grad(unit, u, d)
    got = namespace["normalise_backward"](d, unit.detach(), scale.detach())
    return is_right({"u": got}, {"u": want})


def ask_single_vector(namespace: Namespace) -> bool:
    """The same of a layer norm of one vector."""
    p = {name: normal(5, seed=k).requires_grad_() for k, name in enumerate(("x", "gain", "shift"))}
    dy = normal(5, seed=6)
    y, unit, scale = OPS["layer_norm"].forward(*p.values())
    want = torch.autograd.grad(y, list(p.values()), dy)
    trace = (tensor.detach() for tensor in (unit, scale, p["gain"]))
    got = namespace["backward"](dy, *trace)
    return is_right(dict(zip(p, got, strict=True)), dict(zip(p, want, strict=True)))


def ask_single_id(namespace: Namespace) -> bool:
    """The same of an embedding of one id."""
    dx = normal(5, seed=6)
    want = torch.zeros(3, 5, dtype=dx.dtype)
    want[1] = dx
    return is_right({"table": namespace["embed_backward"](dx, torch.tensor(1), 3)}, {"table": want})


def ask_single_row(namespace: Namespace) -> bool:
    """The same of a look-up of one row."""
    d = normal(5, seed=6)
    want = torch.zeros(3, 5, dtype=d.dtype)
    want[1] = d
    return is_right(
        {"table": namespace["look_up_backward"](d, torch.tensor(1), 3)}, {"table": want}
    )


def ask_blocks(namespace: Namespace) -> bool:
    """Tell whether blocks of keys hold those that a block of queries sees, and no more than fit."""
    queries, keys, block = (SCALE.functions[letter] for letter in "TSU")
    q, k = torch.zeros(1, 1, queries, 1), torch.zeros(1, 1, keys, 1)
    for context in (None, *range(1, keys + 1)):
        sizes = {"T": queries, "S": keys} | ({} if context is None else {"C": context})
        case = Case(TRIALS["blocks"].spec, sizes, {}, {})
        for rows in namespace["_blocks"](queries, block):
            found = list(namespace["_seen"](rows, q, k, AttentionMask(context), block))
            columns = [j for each in found for j in range(each.start, each.stop)]
            inside = range(rows.start, rows.stop)
            seen = [j for j in range(keys) if any(sees(case, 0, i, j) for i in inside)]
            if columns != seen or any(each.stop - each.start > block for each in found):
                return False
    return True


REVERSES = {
    "recurrence": [
        *("backward", "project_backward", "multiply_backward", "project_embedding_backward"),
        *("_with_none", "_candidate", "_holds", "_released", "_kept", "_sum"),
    ],
    "rnn": ["step_backward"],
    "gru": ["step_backward", "step_reset_before_backward"],
    "lstm": ["step_backward"],
    "lstm_variants": [
        *("step_with_options_backward", "step_1997_backward", "step_coupled_backward"),
        *("gates_backward", "step_layer_norm_backward"),
    ],
    "softmax": ["softmax_backward"],
    "cross_entropy": ["backward"],
    "layer_norm": ["normalise_backward", "backward"],
    "embedding": ["look_up_backward"],
    "mlp": ["embed_backward", "windows_backward", "layer_backward"],
    "attention": ["backward"],
    "flash_attention": ["backward", "_scores", "_seen", "_blocks"],
}
FAMILIES = {  # everything there is, and nothing but what must be
    "recurrence": ["lstm_layer_norm", "lstm_peephole_projection", "rnn_tanh"],
    "rnn": ["rnn_tanh"],
    "gru": ["gru", "gru_reset_before"],
    "lstm": ["lstm"],
}
USERS = {  # of a function of a module with several families
    "step_with_options_backward": [
        *("lstm_peephole_projection", "lstm_peephole", "lstm_projection", "lstm"),
    ],
    "step_1997_backward": ["lstm_1997"],
    "step_coupled_backward": ["lstm_coupled"],
    "gates_backward": ["lstm_1997", "lstm_coupled"],
    "step_layer_norm_backward": ["lstm_layer_norm"],
}
for spec in RECURRENCES.values():  # of a family that stands in a file of its own, everything
    if spec.module not in (*FAMILIES, "lstm_variants"):
        FAMILIES[spec.module] = [n for n, s in RECURRENCES.items() if s.module == spec.module]
        REVERSES[spec.module] = [
            name for name in functions_of(spec.module) if name.endswith("_backward")
        ]
ALSO: dict[str, list[Ask]] = {
    "recurrence": [
        partial(ask_table, recurrent("lstm_layer_norm")),
        partial(ask_table, recurrent("rnn_tanh", bias=False)),
    ],
    "layer_norm": [ask_normalise, ask_single_vector],
    "embedding": [ask_single_row],
    "mlp": [ask_single_id],
    "flash_attention": [ask_blocks],
}


def biased_by_key(sizes: Sizes) -> Tensors:
    """The same bias for all queries: one that has to be broadcast."""
    keys = sizes["S"]
    return {
        "hidden": torch.zeros(1, keys, dtype=torch.bool),
        "bias": normal(1, 1, 1, keys, seed=9),
    }


def uses(module: str, function: str) -> list[Trial]:
    """Each use of an op's function; of a family with biases and masks, and without."""
    if names := USERS.get(function) or FAMILIES.get(module):
        return [
            recurrent(name, bias=bias, masked=masked)
            for name in names
            for bias, masked in ((True, True), (False, False), (True, False))
        ]
    found = [trial for trial in FUNCTIONS if trial.spec.module == module]
    if module == "flash_attention":
        found.append(TRIALS["blocks_padded"]._replace(constants=biased_by_key))
    return found


def questions(module: str, function: str) -> list[Ask]:
    """Each use of a function, and of attention also that in which nobody reads the weights."""
    asked = [question(trial) for trial in uses(module, function)]
    if module == "attention":
        asked += [question(trial, "y") for trial in uses(module, function)]
    return [*(partial(ask, one, module) for one in asked), *ALSO.get(module, [])]
