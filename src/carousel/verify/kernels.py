"""The kernels: against ops/ in double precision, and in memory that nobody wrote.

A kernel runs as in a layer, through autograd's function, on numbers that both precisions hold; in
batches of several tiles and widths that are no multiple of a register, on one thread or two.
Letters as in recurrences.py; I is 1, V tokens.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import NamedTuple

import torch

from carousel.kernels import fused
from carousel.kernels.dispatch import FUSED
from carousel.nn import recurrence
from carousel.ops.lstm import LSTM
from carousel.ops.recurrence import EmbeddedInput, Family, Masks, Source, project_embedding
from carousel.ops.rnn import RNN_RELU
from carousel.verify import from_ids, recurrences
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Sizes,
    Tensors,
    as_gradients,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)
from carousel.verify.recurrences import RECURRENCES

Choice = Mapping[str, Sequence[int]]  # by letter, the sizes to choose from

BOUNDS = {torch.float32: 5e-6, torch.bfloat16: 1e-2}

# Rows of several tiles, of 64, and of the 512 at a time whose weight gradients are one product;
# widths around the 16 that numbers are padded to, and the 64 of a panel of weights.
SMALL: Choice = {
    "T": (2, 3, 4, 6),
    "B": (1, 2, 5, 17, 70, 130),
    "V": (7, 8, 71),
    "D": (3, 9, 16, 18, 33),
    "H": (4, 15, 32, 34, 64, 65),
}
SENSIBLE: Choice = {"T": (24, 41), "B": (8, 13), "D": (32, 50), "H": (64, 80), "V": (20, 70)}
NEAR = 2e-6  # to a ReLU's kink: there single precision may be on its other side

FAMILIES = ("rnn_tanh", "rnn_relu", "gru", "gru_reset_before", "lstm")


class Kernel(NamedTuple):
    """A family, and the op that its kernel is to equal: from vectors, packed, or from ids."""

    family: Family
    op: OpSpec


def dense(name: str) -> Kernel:
    """Return a kernel that reads vectors."""
    return Kernel(RECURRENCES[name].family, RECURRENCES[name])


def packed(name: str) -> Kernel:
    """Return a kernel whose sequences end at different times."""
    family, op = dense(name)
    ends = ("hold_h", "hold_c") if family is LSTM else ("hold_h",)
    return Kernel(family, replace(op, constants=dict.fromkeys(ends, "TBI")))


def reading(name: str) -> Kernel:
    """Return a kernel that reads ids."""
    return Kernel(RECURRENCES[name].family, from_ids.op_spec(name))


def draw(one: Kernel, choice: Choice, seed: int) -> Case:
    """Draw a case in the numbers of single precision, away from kinks; what has ended stays so."""
    cases = (_draw(one, choice, seed + 30_000 * again) for again in count())
    return next(case for case in cases if one.op.kink(case) > NEAR)


def _draw(one: Kernel, choice: Choice, seed: int) -> Case:
    case = draw_case(replace(one.op, sizes=partial(_sizes, one.family, choice)), seed)
    small = 2 * case.sizes["H"] ** -0.5  # that no gate shuts
    inputs = {
        name: (x * small if name[0] in "wb" else x).float().double()
        for name, x in case.inputs.items()
    }
    t, b = case.sizes["T"], case.sizes["B"]
    lengths = torch.randint(1, t + 1, (b,), generator=torch.Generator().manual_seed(seed))
    ended = (torch.arange(t).unsqueeze(1) >= lengths).unsqueeze(-1).double()  # (T, B, 1)
    constants = {name: x if name == "ids" else ended for name, x in case.constants.items()}
    return case._replace(inputs=inputs, constants=constants)


def _sizes(family: Family, choice: Choice, rng: random.Random) -> Sizes:
    sizes: Sizes = {}
    for letter, some in choice.items():
        sizes[letter] = rng.choice([size for size in some if size not in sizes.values()])
    return sizes | {"P": sizes["H"], "G": family.gates * sizes["H"], "I": 1}


def run(one: Kernel, compute_dtype: torch.dtype, case: Case) -> Tensors:
    """Run the kernel in single precision: y and the last state by name."""
    inputs = {name: x.float() for name, x in case.inputs.items()}
    source: Source
    if "ids" in case.constants:
        tokens, state, weights = from_ids.arguments(inputs)
        source = EmbeddedInput(case.constants["ids"] + 1, project_embedding(tokens))
    else:
        source, state, weights = recurrences.arguments(inputs)
    hold = case.constants.get("hold_h")
    masks = Masks((None if hold is None else hold.float(),) * len(state))
    y, final = recurrence.run(FUSED[compute_dtype], one.family, source, state, weights, masks)
    return {"y": y, **dict(zip(("h_n", "c_n"), final, strict=False))}


def against_op(
    one: Kernel, choice: Choice, compute_dtype: torch.dtype, seeds: range
) -> CheckResult:
    """Return the largest relative difference of an output or a gradient from the op's, in float64.

    A ReLU's slope jumps where bfloat16 crosses zero: there, the outputs alone are near.
    """
    has_slopes = not (is_relu(one) and compute_dtype == torch.bfloat16)
    figures = []
    for seed in seeds:
        case = draw(one, choice, seed)
        outputs, trace = forward(case)
        cotangents = draw_cotangents(outputs, seed)
        want, got = outputs, run(one, compute_dtype, case)
        if has_slopes:
            want = want | as_gradients(backward(case, cotangents, trace))
            with _threads(1 + seed % 2):
                got = in_one(one, compute_dtype, case, cotangents)
        figures.append(distance(_double(got), want, BOUNDS[compute_dtype], f"seed {seed}"))
    return worst(figures)


def in_one(one: Kernel, compute_dtype: torch.dtype, case: Case, cotangents: Tensors) -> Tensors:
    """Run the kernel; return outputs, and the gradients of their weighted sum."""
    leaves = leaves_of(case)
    return with_gradients(run(one, compute_dtype, leaves), leaves, cotangents)


def unwritten(one: Kernel, seeds: range) -> CheckResult:
    """Return how far from its own bits a kernel is where fresh memory holds no numbers at all."""
    products = [
        compute_dtype for compute_dtype in BOUNDS if fused.unavailable_reason(compute_dtype) is None
    ]
    return worst(
        _poisoned(one, compute_dtype, seed) for seed in seeds for compute_dtype in products
    )


def _poisoned(one: Kernel, compute_dtype: torch.dtype, seed: int) -> CheckResult:
    case = draw(one, SMALL, seed)
    with torch.no_grad():
        clean = run(one, compute_dtype, case)
        with poison():
            inferred = run(one, compute_dtype, case)
    cotangents = draw_cotangents(clean, seed)
    want = in_one(one, compute_dtype, case, cotangents)
    with poison():
        got = in_one(one, compute_dtype, case, cotangents)
    said = f"seed {seed}, {compute_dtype}"
    return worst(
        [distance(got, want, 0.0, said), distance(inferred, clean, 0.0, f"{said}, inference")]
    )


def where_it_runs(
    compute_dtype: torch.dtype, examine: Callable[[range], CheckResult], seeds: range
) -> CheckResult:
    """Examine a kernel; or say why there is none here, which is no pass and no failure."""
    reason = fused.unavailable_reason(compute_dtype)
    return examine(seeds) if reason is None else CheckResult(None, where=reason, is_not_run=True)


def with_gradients(outputs: Tensors, leaves: Case, cotangents: Tensors) -> Tensors:
    """Return the outputs, and the gradients of their weighted sum."""
    inputs = leaves.inputs
    gradients = torch.autograd.grad(
        list(outputs.values()),
        list(inputs.values()),
        [cotangents[name].to(y.dtype) for name, y in outputs.items()],
        retain_graph=True,
    )
    found = {name: y.detach() for name, y in outputs.items()}
    return found | as_gradients(dict(zip(inputs, gradients, strict=True)))


def is_relu(one: Kernel) -> bool:
    """Return whether a kernel has kinks; compared by name, since pickling copies a family."""
    return one.family.name == RNN_RELU.name


def leaves_of(case: Case) -> Case:
    """Return a case in single precision, whose inputs ask for gradients."""
    inputs = {name: x.float().requires_grad_() for name, x in case.inputs.items()}
    return case._replace(inputs=inputs)


def _double(tensors: Tensors) -> Tensors:
    return {name: x.double() for name, x in tensors.items()}


@contextmanager
def poison() -> Iterator[None]:
    """Fill the memory that kernels allocate with NaN until it is written."""
    fused.poison(True)
    try:
        yield
    finally:
        fused.poison(False)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
