"""Every layer and cell in the place of its torch.nn namesake: the same outputs and gradients."""

from copy import deepcopy
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from twins import (
    BACKENDS,
    CELLS,
    LAYERS,
    States,
    Tensors,
    called,
    inputs,
    normal,
    state_for,
    twins,
    with_gradients,
)

from assertions import assert_known, assert_near
from budgets import amount, torture

SINGLE = torch.finfo(torch.float32).eps


class Case(NamedTuple):
    """Twins of random settings, an input, its lengths if it is packed, an initial state or none."""

    theirs: Any
    ours: Any
    x: Tensor
    lengths: list[int] | None
    state: States | None

    def results(self, layer: Any) -> Tensors:
        torch.manual_seed(0)  # of the dropout masks
        x: Any = self.x
        if self.lengths is not None:
            x = pack_padded_sequence(
                x, torch.tensor(self.lengths), self.ours.batch_first, enforce_sorted=False
            )
        outputs = called(layer, x, self.state)
        return with_gradients(layer, outputs, inputs(self.x, self.state))


@st.composite
def cases(draw: st.DrawFn, name: str, dtype: torch.dtype, least: int) -> Case:
    """Draw a case whose sizes are at least so large."""
    steps, batch, features, hidden = (draw(st.integers(least, least + 5)) for _ in range(4))
    layers = draw(st.integers(1, 3))
    own: dict[str, Any] = {}
    if name == "RNN":
        own = {"nonlinearity": draw(st.sampled_from(["tanh", "relu"]))}
    if name == "LSTM":
        own = {"proj_size": draw(st.just(0) | st.integers(0, hidden - 1))}
    theirs, ours = twins(
        name,
        features,
        hidden,
        layers,
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.3])) if layers > 1 else 0.0,
        dtype=dtype,
        backend=draw(st.sampled_from(BACKENDS)),
        **own,
    )
    is_training = draw(st.booleans())
    form = draw(st.sampled_from(["batched", "unbatched", "packed"]))
    rows = () if form == "unbatched" else (batch,)
    shape = (*rows, steps, features) if ours.batch_first else (steps, *rows, features)
    lengths = None
    if form == "packed":
        lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    state = state_for(ours, *rows, dtype=dtype) if draw(st.booleans()) else None
    return Case(
        theirs.train(is_training),
        ours.train(is_training),
        normal(*shape, dtype=dtype),
        lengths,
        state,
    )


def in_double(case: Case, nudge: float) -> Case:
    """Return the case in double precision, each of its numbers off by a share of itself."""
    generator = torch.Generator().manual_seed(0)

    def off(x: Tensor) -> Tensor:
        sign = 2.0 * torch.randint(2, x.shape, generator=generator) - 1
        return (x.detach().double() * (1 + nudge * sign)).requires_grad_()

    theirs = deepcopy(case.theirs).double()
    for weight in theirs.parameters():
        weight.data = off(weight).detach()
    state = None if case.state is None else tuple(map(off, case.state))
    return case._replace(theirs=theirs, x=off(case.x), state=state)


@torture
@pytest.mark.parametrize("name", LAYERS)
def test_layers_match_in_double_precision(name: str) -> None:
    """With dropout too: from the same seed torch draws the same masks."""

    @settings(max_examples=amount(200, 5000), derandomize=True)
    @given(cases(name, torch.float64, least=1))
    def holds(case: Case) -> None:
        assert_near(case.results(case.ours), case.results(case.theirs))

    holds()


@torture
@pytest.mark.parametrize("name", LAYERS)
def test_layers_match_in_single_precision(name: str) -> None:
    """As near to torch's in double precision as numbers of single precision tell."""

    @settings(max_examples=amount(60, 2000), derandomize=True)
    @given(cases(name, torch.float32, least=4))
    def holds(case: Case) -> None:
        exact, other = in_double(case, nudge=0), in_double(case, nudge=SINGLE)
        assert_known(
            case.results(case.ours), exact.results(exact.theirs), other.results(other.theirs)
        )

    holds()


@st.composite
def cell_cases(draw: st.DrawFn, name: str, dtype: torch.dtype, least: int) -> Case:
    batch, features, hidden = (draw(st.integers(least, least + 5)) for _ in range(3))
    own: dict[str, Any] = {}
    if name == "RNNCell":
        own = {"nonlinearity": draw(st.sampled_from(["tanh", "relu"]))}
    theirs, ours = twins(
        name,
        features,
        hidden,
        bias=draw(st.booleans()),
        dtype=dtype,
        backend=draw(st.sampled_from(BACKENDS)),
        **own,
    )
    rows = (batch,) if draw(st.booleans()) else ()
    parts = 2 if name == "LSTMCell" else 1
    state = tuple(normal(*rows, hidden, dtype=dtype) for _ in range(parts))
    x = normal(*rows, features, dtype=dtype)
    return Case(theirs, ours, x, None, state if draw(st.booleans()) else None)


def three_steps(cell: Any, case: Case) -> Tensors:
    """What a cell says and remembers after three steps, and the gradients."""
    state: Any = case.state if case.state is None or len(case.state) == 2 else case.state[0]
    for _ in range(3):
        state = cell(case.x, state)
    parts = state if isinstance(state, tuple) else (state,)
    outputs = dict(zip(("h", "c"), parts, strict=False))
    return with_gradients(cell, outputs, inputs(case.x, case.state))


@torture
@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float64, 1), (torch.float32, 4)], ids=["double", "single"]
)
@pytest.mark.parametrize("name", CELLS)
def test_cells_match(name: str, dtype: torch.dtype, least: int) -> None:
    @settings(max_examples=amount(200, 5000), derandomize=True)
    @given(cell_cases(name, dtype, least))
    def holds(case: Case) -> None:
        assert_near(three_steps(case.ours, case), three_steps(case.theirs, case))

    holds()
