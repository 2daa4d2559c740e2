"""The kernels in time: the streaming law, in single precision, and causality."""

import random
from itertools import pairwise

import torch
from torch import Tensor

from carousel.verify.causality import Scene
from carousel.verify.causality_cases import last
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.kernels import (
    BOUNDS,
    SMALL,
    Choice,
    Kernel,
    draw,
    is_relu,
    leaves_of,
    run,
    with_gradients,
)
from carousel.verify.op_spec import Case, Tensors, draw_cotangents
from carousel.verify.recurrences import STATE
from carousel.verify.streaming_models import restored

FEW: Choice = {**SMALL, "T": (2, 3), "B": (1, 5, 66)}


def streaming(one: Kernel, seeds: range) -> CheckResult:
    """Return the largest relative difference of the whole from pieces, single steps and rows."""
    return worst(_streamed(one, seed) for seed in seeds)


def _streamed(one: Kernel, seed: int) -> CheckResult:
    rng, case = random.Random(seed), leaves_of(draw(one, SMALL, seed))
    t, b = case.sizes["T"], case.sizes["B"]
    cuts = sorted(rng.sample(range(1, t), rng.randint(1, t - 1)))
    whole = run(one, torch.float32, case)
    cotangents = draw_cotangents({name: y.double() for name, y in whole.items()}, seed)
    ways = {
        f"cut at {cuts}": in_pieces(one, case, cuts),
        "step by step": in_pieces(one, case, list(range(1, t))),
        "row by row": _joined([run(one, torch.float32, _row(case, r)) for r in range(b)]),
    }
    with torch.no_grad():  # saves nothing for a backward pass
        alone = run(one, torch.float32, case)
    bound, said = BOUNDS[torch.float32], f"seed {seed}"
    want = with_gradients(whole, case, cotangents)
    return worst(
        [
            distance(alone, {name: want[name] for name in alone}, bound, f"{said}, inference"),
            *(
                distance(with_gradients(y, case, cotangents), want, bound, f"{said}, {way}")
                for way, y in ways.items()
            ),
        ]
    )


def in_pieces(one: Kernel, case: Case, cuts: list[int]) -> Tensors:
    """Run piece after piece; the state goes through the bytes of safetensors, gradients too."""
    y, state = [], {name: case.inputs[name] for name in STATE if name in case.inputs}
    for start, end in pairwise((0, *cuts, case.sizes["T"])):
        handed = dict(zip(state, restored(tuple(state.values())), strict=True))
        piece = _of_time(case, slice(start, end))
        outputs = run(one, torch.float32, piece._replace(inputs=piece.inputs | handed))
        y.append(outputs.pop("y"))
        state = {name: outputs[name.replace("_0", "_n")] for name in state}
    return {"y": torch.cat(y), **outputs}


def _of_time(case: Case, steps: slice) -> Case:
    constants = {name: x[steps] for name, x in case.constants.items()}
    own = {name: x[steps] for name, x in case.inputs.items() if name == "x"}
    return case._replace(inputs=case.inputs | own, constants=constants)


def _row(case: Case, b: int) -> Case:
    """Return one sequence of the batch."""
    constants = {name: x[:, b : b + 1] for name, x in case.constants.items()}
    own = {name: case.inputs[name][..., b : b + 1, :] for name in case.spec.data}
    return case._replace(inputs=case.inputs | own, constants=constants)


def _joined(rows: list[Tensors]) -> Tensors:
    return {name: torch.cat([row[name] for row in rows], dim=-2) for name in rows[0]}


def scene(one: Kernel, seed: int) -> Scene:
    """Return a kernel: it sees all that was before its sequence ended, and the initial state."""
    case = draw(one, FEW, seed)
    if is_relu(one):  # of what is negative it depends on nothing
        case = case._replace(inputs={name: x.abs() for name, x in case.inputs.items()})
    t, b, d = (case.sizes[letter] for letter in "TBD")
    states = [name for name in STATE if name in case.inputs]
    is_table = "ids" in case.constants
    if is_table:  # at each place a token of its own, whose vector is what is seen
        x = torch.rand(t, b, d, generator=torch.Generator().manual_seed(seed))
        case = case._replace(constants={"ids": torch.arange(t * b).view(t, b)})
    else:
        x = case.inputs["x"]

    def look(sources: Tensors) -> Tensor:
        read = {"embedding": sources["x"].flatten(0, 1)} if is_table else {"x": sources["x"]}
        first = {name: sources[name][0] for name in states}
        return run(one, torch.float32, case._replace(inputs=case.inputs | read | first))["y"]

    seen = last(t, t, b)
    if "hold_h" in case.constants:
        seen = seen & (case.constants["hold_h"] == 0).squeeze(-1)
    always = torch.ones(t, 1, b, dtype=torch.bool)
    state = {name: case.inputs[name].unsqueeze(0).float() for name in states}
    return Scene(look, {"x": x.float(), **state}, {"x": seen, **dict.fromkeys(state, always)})
