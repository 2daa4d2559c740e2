"""The streaming law of the recurrent ops: outputs, last states and gradients.

Whole = any split = one step at a time = saved and restored = any row. Step by step, every state
goes through the bytes of safetensors: what comes back is the same bits, whatever the split.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import torch
from safetensors.torch import load, save

from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.op_spec import (
    Case,
    OpSpec,
    Tensors,
    as_gradients,
    backward,
    draw_case,
    draw_cotangents,
    forward,
)
from carousel.verify.recurrences import STATE

BOUND = 1e-12


def streaming(spec: OpSpec, seeds: range) -> CheckResult:
    """Return the largest relative difference, of every split of a random shape for each seed."""
    return worst(of_case(draw_case(spec, seed), seed) for seed in seeds)


def of_case(case: Case, seed: int) -> CheckResult:
    """Return the largest relative difference, of every split of one case."""
    outputs, trace = forward(case)
    cotangents = draw_cotangents(outputs, seed)
    whole = outputs | as_gradients(backward(case, cotangents, trace))
    figures = []
    steps = len(case.inputs["x"])
    for cuts in _splits(steps):
        hand_on = _through_bytes if len(cuts) == steps - 1 else _as_it_is
        got = in_pieces(case, cotangents, cuts, hand_on)
        figures.append(distance(got, whole, BOUND, f"seed {seed}, cut at {cuts}"))
    alone = row_by_row(case, cotangents)
    return worst([*figures, distance(alone, whole, BOUND, f"seed {seed}, row by row")])


def _splits(steps: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to cut a sequence, among them: nowhere, and everywhere."""
    for n in range(steps):
        yield from combinations(range(1, steps), n)


def _through_bytes(state: Tensors) -> Tensors:
    """Save and restore; two parts that share memory are two."""
    copies = {name: x.clone(memory_format=torch.contiguous_format) for name, x in state.items()}
    return load(save(copies))


def _as_it_is(state: Tensors) -> Tensors:
    return state


def in_pieces(
    case: Case,
    cotangents: Tensors,
    cuts: tuple[int, ...],
    hand_on: Callable[[Tensors], Tensors],
) -> Tensors:
    """Run piece after piece, the state handed on; then back, its gradient handed back."""
    steps = len(case.inputs["x"])
    pieces = [slice(*ends) for ends in pairwise((0, *cuts, steps))]
    done, state = [], {name: case.inputs[name] for name in STATE if name in case.inputs}
    for piece in pieces:
        part = _piece(case, piece)
        part = part._replace(inputs=part.inputs | hand_on(state))
        outputs, trace = forward(part)
        state = {f"{name}_0": outputs[f"{name}_n"] for name in "hc" if f"{name}_n" in outputs}
        done.append((part, outputs, trace))
    dlast = {name: u for name, u in cotangents.items() if name != "y"}
    gradients: Tensors = {}
    dx = []
    for piece, (part, _, trace) in zip(reversed(pieces), reversed(done), strict=True):
        found = backward(part, {"y": cotangents["y"][piece], **dlast}, trace)
        dlast = {name.replace("_0", "_n"): found.pop(name) for name in STATE if name in found}
        dx.append(found.pop("x"))
        gradients = {name: d + gradients.get(name, 0) for name, d in found.items()}
    gradients |= {name.replace("_n", "_0"): d for name, d in dlast.items()}
    y = torch.cat([outputs["y"] for _, outputs, _ in done])
    return {**done[-1][1], "y": y} | as_gradients({"x": torch.cat(dx[::-1]), **gradients})


def row_by_row(case: Case, cotangents: Tensors) -> Tensors:
    """Run each sequence of the batch alone; what is shared by the rows gets all their gradients."""
    found: list[Tensors] = []
    for b in range(case.inputs["x"].shape[1]):
        row = _row(case, slice(b, b + 1))
        outputs, trace = forward(row)
        own = {name: u[..., b : b + 1, :] for name, u in cotangents.items()}
        found.append(outputs | as_gradients(backward(row, own, trace)))
    has_rows = {"y", "h_n", "c_n", "dx", *(f"d{name}" for name in STATE)}
    return {
        name: torch.cat([row[name] for row in found], dim=-2)
        if name in has_rows
        else torch.stack([row[name] for row in found]).sum(0)
        for name in found[0]
    }


def _piece(case: Case, steps: slice) -> Case:
    """Return a stretch of time, which is the first axis of all that has three."""

    def of(tensors: Tensors) -> Tensors:
        return {name: x[steps] if x.dim() == 3 else x for name, x in tensors.items()}

    return case._replace(inputs=of(case.inputs), constants=of(case.constants))


def _row(case: Case, rows: slice) -> Case:
    """Return some rows of the batch, which is the last axis but one of all that has one."""
    own = {name: case.inputs[name][..., rows, :] for name in case.spec.data}
    masks = {name: mask[..., rows, :] for name, mask in case.constants.items()}
    return case._replace(inputs=case.inputs | own, constants=masks)
