"""What is asked of a mutant in a reverse of the ops beside recurrence: are its gradients right?"""

from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from hunting import Ask, Namespace, is_right
from op_case import OPS, Case, Sizes, normal, random_inputs
from op_cases import CASES
from op_definitions import sees
from op_given import Given, Tensors

from carousel.ops.attention import AttentionMask

SIZES = Sizes(B=2, N=3, T=5, S=8, K=4, M=6, V=6, D=10, H=9, n=3, C=3, block=2)


class Question(NamedTuple):
    """A forward pass, the gradients that arrive at its end, and those that must come out."""

    case: Case
    given: Given
    trace: Any
    darriving: Tensors
    want: Tensors


def question(case: Case, *arriving: str) -> Question:
    """Ask for the gradients of some outputs; of all, if none is named."""
    p, given = random_inputs(case, SIZES)
    outputs, _ = case.forward(OPS, p, given)
    outputs = {name: y for name, y in outputs.items() if name in arriving or not arriving}
    darriving = {name: normal(*y.shape, seed=2) for name, y in outputs.items()}
    gradients = torch.autograd.grad(
        list(outputs.values()), list(p.values()), list(darriving.values())
    )
    detached = {name: tensor.detach() for name, tensor in p.items()}
    _, trace = case.forward(OPS, detached, given)
    return Question(case, given, trace, darriving, dict(zip(p, gradients, strict=True)))


def ask(asked: Question, module: str, namespace: Namespace) -> bool:
    """Tell whether a module's reverse, as it stands in a namespace, answers rightly.

    It gets copies: a mutant may add to what it should only read.
    """
    code = OPS | {module: SimpleNamespace(**namespace)}
    darriving, trace, given = deepcopy((asked.darriving, asked.trace, asked.given))
    return is_right(asked.case.backward(code, darriving, trace, given), asked.want)


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
    q, k = torch.zeros(1, 1, SIZES.T, 1), torch.zeros(1, 1, SIZES.S, 1)
    for context in (None, *range(1, SIZES.S + 1)):
        for rows in namespace["_blocks"](SIZES.T, SIZES.block):
            found = list(namespace["_seen"](rows, q, k, AttentionMask(context), SIZES.block))
            columns = [j for block in found for j in range(block.start, block.stop)]
            queries = range(rows.start, rows.stop)
            given = Given(sight=AttentionMask(context))
            seen = [
                j
                for j in range(SIZES.S)
                if any(sees(given, 0, i, j, SIZES.T, SIZES.S) for i in queries)
            ]
            if columns != seen or any(b.stop - b.start > SIZES.block for b in found):
                return False
    return True


REVERSES = {
    "softmax": ["softmax_backward"],
    "cross_entropy": ["backward"],
    "layer_norm": ["normalise_backward", "backward"],
    "embedding": ["look_up_backward"],
    "mlp": ["embed_backward", "windows_backward", "layer_backward"],
    "attention": ["backward"],
    "flash_attention": ["backward", "_scores", "_seen", "_blocks"],
}
ALSO = {
    "layer_norm": [ask_normalise, ask_single_vector],
    "embedding": [ask_single_row],
    "mlp": [ask_single_id],
    "flash_attention": [ask_blocks],
}


def biased_by_key(sizes: Sizes) -> Given:
    """The same bias for all queries: one that has to be broadcast."""
    hidden = torch.zeros(1, sizes.S, dtype=torch.bool)
    return Given(hidden=hidden, bias=normal(1, 1, sizes.S, seed=9), block=sizes.block)


def questions(module: str) -> list[Ask]:
    """Each use of an op, and of attention also that in which nobody reads the weights."""
    uses = [case for case in CASES.values() if case.module == module]
    if module == "flash_attention":
        uses.append(CASES["blocks_padded"]._replace(given=biased_by_key))
    asked = [question(case) for case in uses]
    if module == "attention":
        asked += [question(case, "y") for case in uses]
    return [*(partial(ask, one, module) for one in asked), *ALSO.get(module, [])]
