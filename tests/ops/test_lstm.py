"""The LSTM op against torch.nn.LSTM, autograd, finite differences, and the laws of time.

A check takes the code that it examines: first the true one, then the same with a fault planted
in its source, which the checks must see.
"""

import inspect
import re
from collections.abc import Callable
from itertools import combinations, pairwise
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from carousel.kernels.implementation import Implementation
from carousel.layers.recurrence import Recurrence
from carousel.ops import lstm, recurrence
from carousel.ops.recurrence import Dense, Weights
from closeness import assert_near
from conftest import ROOT

T, B, D, H = 5, 3, 4, 6  # all different: a swapped axis cannot pass unseen
Tensors = dict[str, Tensor]


class Code(NamedTuple):
    """What is examined: the module of the time loop, and the one of the step."""

    recurrence: ModuleType
    lstm: ModuleType


OURS = Code(recurrence, lstm)


def random_inputs(dtype: torch.dtype = torch.float64, *, bias: bool = True) -> Tensors:
    """Nothing is zero: a bias left at zero hides a missing bias."""
    torch.manual_seed(0)
    shapes = {"x": (T, B, D), "h_0": (B, H), "c_0": (B, H)}
    shapes |= {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H)}
    if bias:
        shapes |= {"bias_ih": (4 * H,), "bias_hh": (4 * H,)}
    return {
        name: torch.randn(shape, dtype=dtype, requires_grad=True) for name, shape in shapes.items()
    }


def recurrent(p: Tensors) -> Weights:
    """The weights inside the loop, by the op's names."""
    return {"w_hh": p["weight_hh"]} | ({"b_hh": p["bias_hh"]} if "bias_hh" in p else {})


def by_loop(code: Code, p: Tensors) -> Tensors:
    """The time loop, which torch differentiates."""
    source = Dense(p["x"], p["weight_ih"], p.get("bias_ih"))
    state = (p["h_0"], p["c_0"])
    y, (h_n, c_n), _ = code.recurrence.forward(code.lstm.LSTM, source, state, recurrent(p))
    return {"y": y, "h_n": h_n, "c_n": c_n}


def by_hand(code: Code, p: Tensors) -> Tensors:
    """The same with the hand-derived reverse: autograd sees one function, the layer's."""
    ours = Implementation("ours", code.recurrence.forward, code.recurrence.backward)
    weights = recurrent(p)
    source = (p["x"], p["weight_ih"], p.get("bias_ih"))
    y, h_n, c_n = Recurrence.apply(
        ours, code.lstm.LSTM, tuple(weights), *source, p["h_0"], p["c_0"], *weights.values()
    )
    return {"y": y, "h_n": h_n, "c_n": c_n}


def by_torch(p: Tensors) -> Tensors:
    """torch.nn.LSTM on the same tensors."""
    theirs = torch.nn.LSTM(D, H, bias="bias_ih" in p, dtype=p["x"].dtype)
    own = {f"{name}_l0": tensor for name, tensor in p.items() if name.endswith(("ih", "hh"))}
    state = (p["h_0"].unsqueeze(0), p["c_0"].unsqueeze(0))
    y, (h_n, c_n) = torch.func.functional_call(theirs, own, (p["x"], state))
    return {"y": y, "h_n": h_n.squeeze(0), "c_n": c_n.squeeze(0)}


def with_gradients(outputs: Tensors, inputs: Tensors) -> Tensors:
    """The outputs, and the gradients of a random weighted sum of them to every input."""
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(y.shape, generator=generator, dtype=y.dtype) * y).sum()
        for y in outputs.values()
    )
    gradients = torch.autograd.grad(loss, list(inputs.values()), materialize_grads=True)
    return outputs | {f"d{name}": d for name, d in zip(inputs, gradients, strict=True)}


def matches_torch(code: Code, dtype: torch.dtype = torch.float64, *, bias: bool = True) -> None:
    inputs = random_inputs(dtype, bias=bias)
    got = with_gradients(by_hand(code, inputs), inputs)
    assert_near(got, with_gradients(by_torch(inputs), inputs))


def matches_autograd(code: Code) -> None:
    inputs = random_inputs()
    got = with_gradients(by_hand(code, inputs), inputs)
    assert_near(got, with_gradients(by_loop(code, inputs), inputs))


def matches_finite_differences(code: Code) -> None:
    """gradcheck is given our reverse, never autograd's."""
    inputs = random_inputs()

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(by_hand(code, dict(zip(inputs, tensors, strict=True))).values())

    assert torch.autograd.gradcheck(outputs, tuple(inputs.values()))


def obeys_the_streaming_law(code: Code) -> None:
    """Whole = any split = one step at a time = any row of the batch; outputs and gradients."""
    inputs = random_inputs()
    whole = with_gradients(by_hand(code, inputs), inputs)
    for cuts in (cuts for n in range(T) for cuts in combinations(range(1, T), n)):
        lengths = [end - start for start, end in pairwise((0, *cuts, T))]
        split = in_pieces(code, inputs, lengths)
        assert_near(with_gradients(split, inputs), whole)
    assert_near(with_gradients(row_by_row(code, inputs), inputs), whole)


def in_pieces(code: Code, inputs: Tensors, lengths: list[int]) -> Tensors:
    outputs, state = [], {"h_0": inputs["h_0"], "c_0": inputs["c_0"]}
    for x in inputs["x"].split(lengths):
        piece = by_hand(code, inputs | state | {"x": x})
        outputs.append(piece["y"])
        state = {"h_0": piece["h_n"], "c_0": piece["c_n"]}
    return {"y": torch.cat(outputs), "h_n": state["h_0"], "c_n": state["c_0"]}


def row_by_row(code: Code, inputs: Tensors) -> Tensors:
    rows = []
    for b in range(B):
        row = {"x": inputs["x"][:, [b]], "h_0": inputs["h_0"][[b]], "c_0": inputs["c_0"][[b]]}
        rows.append(by_hand(code, inputs | row))
    return {name: torch.cat([r[name] for r in rows], dim=-2) for name in ("y", "h_n", "c_n")}


def is_causal(code: Code) -> None:
    """No output depends on a later input or another row; each depends on all that came before."""
    inputs = random_inputs()
    wanted = [inputs["x"], inputs["h_0"], inputs["c_0"]]
    for run in (by_loop, by_hand):
        y = run(code, inputs)["y"]
        for t, b in ((t, b) for t in range(T) for b in range(B)):
            u = torch.arange(1.0, H + 1)  # no unit's share may cancel another's
            gradients = torch.autograd.grad(
                y[t, b] @ u.double(), wanted, retain_graph=True, materialize_grads=True
            )
            dx, dh_0, dc_0 = (d.abs().amax(-1) for d in gradients)  # (T, B), (B,), (B,)
            past = torch.zeros(T, B, dtype=torch.bool)
            past[: t + 1, b] = True
            assert torch.equal(dx > 0, past)
            assert torch.equal(dh_0 > 0, past[0])
            assert torch.equal(dc_0 > 0, past[0])


CHECKS: dict[str, Callable[[Code], None]] = {
    "torch": matches_torch,
    "autograd": matches_autograd,
    "differences": matches_finite_differences,
    "streaming": obeys_the_streaming_law,
    "causality": is_causal,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_holds(check: Callable[[Code], None]) -> None:
    check(OURS)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_matches_torch_in_each_precision(dtype: torch.dtype, bias: bool) -> None:
    matches_torch(OURS, dtype, bias=bias)


def test_numbers_of_the_derivation() -> None:
    weights = {"w_hh": torch.ones(4, 1, dtype=torch.float64)}
    source = Dense(torch.tensor([[[1.0]], [[0.0]]]).double(), weights["w_hh"], None)
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    _, (h_2, c_2), trace = recurrence.forward(lstm.LSTM, source, (zero, zero), weights)
    (_, _, i_1, _, g_1, _, tanh_c_1), (h_1, c_1, i_2, f_2, g_2, _, tanh_c_2) = trace.caches
    da_2, (dh_1, dc_1), _ = lstm.step_backward((one, zero), trace.caches[1], weights)
    numbers = [i_1, g_1, c_1, tanh_c_1, h_1, i_2, g_2, c_2, tanh_c_2, h_2]
    numbers += [*da_2.T, dh_1, dc_1 / f_2, dc_1]
    page = (ROOT / "math/lstm/equations.md").read_text(encoding="utf-8")
    section = page.split("## Check by hand")[1].split("\n## ")[0]
    written = re.findall(r"\d\.\d{6}", section)
    assert set(written) == {f"{number.item():.6f}" for number in numbers}


class Fault(NamedTuple):
    """One line changed: which module, what stood there, what stands there now, who sees it."""

    module: str
    true: str
    false: str
    seen_by: set[str]


VALUES = {"torch", "autograd", "differences"}  # forward and reverse no longer belong together
FAULTS = {
    "gate order o, g swapped": Fault(
        "lstm", "a_i, a_f, a_g, a_o = a.chunk", "a_i, a_f, a_o, a_g = a.chunk", VALUES
    ),
    "input bias dropped": Fault(
        "recurrence", "return a if source.b_ih is None else a + source.b_ih", "return a", VALUES
    ),
    "reads h_0 for ever": Fault(
        "recurrence",
        "family.step(a_t, state, weights)",
        "family.step(a_t, (caches[0][0] if caches else state[0], *state[1:]), weights)",
        VALUES | {"streaming"},
    ),
    "candidate without tanh": Fault("lstm", "g = a_g.tanh()", "g = a_g", VALUES),
    "cell not passed on": Fault(
        "recurrence",
        "family.step(a_t, state, weights)",
        "family.step(a_t, (state[0], caches[0][1] if caches else state[1]), weights)",
        VALUES | {"streaming"},
    ),
    "bias_hh ignored": Fault("lstm", 'a = a + weights["b_hh"]', "pass", VALUES),
    "given state ignored": Fault(
        "recurrence",
        "outputs, caches = [], []",
        "outputs, caches, state = [], [], tuple(torch.zeros_like(s) for s in state)",
        VALUES | {"streaming", "causality"},
    ),
    "returned state is the initial one": Fault(
        "recurrence",
        "return torch.stack(outputs), state, Trace",
        "return torch.stack(outputs), tuple(s + 0 for s in caches[0][:2]), Trace",
        VALUES | {"streaming"},
    ),
    "backward: path h to c missing": Fault(
        "lstm", "dc = dc + dh * o * (1 - tanh_c * tanh_c)", "dc = dc", VALUES | {"causality"}
    ),
    "backward: wrong factor in forget gate": Fault(
        "lstm", "dc * c_prev * f * (1 - f)", "dc * c_prev * f * (1 + f)", VALUES
    ),
    "backward: dc not carried back": Fault(
        "lstm", 'weights["w_hh"], dc * f)', 'weights["w_hh"], dc * 0)', VALUES | {"causality"}
    ),
    "backward: last step's weight gradient only": Fault(
        "recurrence", "name: _sum(steps) for", "name: _sum(steps[:1]) for", VALUES | {"streaming"}
    ),
    "sees the future": Fault(
        "recurrence",
        "in project(source).unbind(0)",
        "in project(source).roll(-1, 0).unbind(0)",
        VALUES | {"streaming", "causality"},
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(fault: Fault) -> None:
    code = OURS._replace(**{fault.module: planted(getattr(OURS, fault.module), fault)})
    assert {name for name, check in CHECKS.items() if fails(check, code)} == fault.seen_by


def planted(module: ModuleType, fault: Fault) -> ModuleType:
    source = inspect.getsource(module)
    assert source.count(fault.true) == 1, "the line to change must stand there once"
    faulty = ModuleType(module.__name__)
    exec(source.replace(fault.true, fault.false), faulty.__dict__)
    return faulty


def fails(check: Callable[[Code], None], code: Code) -> bool:
    try:
        check(code)
    except (AssertionError, GradcheckError):
        return True
    return False
