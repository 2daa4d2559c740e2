"""The streaming law and causality of whole layers, of every family and variant.

A bidirectional layer hears the future, and obeys neither.
"""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from twins import (
    B,
    D,
    States,
    T,
    Tensors,
    called,
    each_variant,
    inputs,
    made,
    normal,
    results,
    state_for,
    with_gradients,
)

from assertions import assert_near
from budgets import amount, torture


def in_pieces(layer: Any, x: Tensor, state: States, lengths: list[int]) -> Tensors:
    """The outputs joined and the last state, each piece beginning where the one before ended."""
    outputs, pieces = [], x.split(lengths, dim=1 if layer.batch_first else 0)
    for piece in pieces:
        named = called(layer, piece, state)
        outputs.append(named.pop("y"))
        state = tuple(named.values())
    return {"y": torch.cat(outputs, dim=1 if layer.batch_first else 0)} | named


@torture
@each_variant
def test_whole_is_any_split_is_one_step_at_a_time(variant: str) -> None:
    @settings(max_examples=amount(25, 500), derandomize=True)
    @given(
        lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
        batch_first=st.booleans(),
        backend=st.sampled_from(["bptt", "autograd"]),
    )
    def holds(lengths: list[int], batch_first: bool, backend: Any) -> None:
        layer = made(variant, batch_first=batch_first, backend=backend)
        steps = sum(lengths)
        x = normal(B, steps, D) if batch_first else normal(steps, B, D)
        state = state_for(layer, B)
        whole = results(layer, x, state)
        for cut in (lengths, [1] * steps):
            split = in_pieces(layer, x, state, cut)
            assert_near(with_gradients(layer, split, inputs(x, state)), whole)

    holds()


@each_variant
def test_a_row_of_a_batch_is_the_sequence_alone(variant: str) -> None:
    layer, x = made(variant, bidirectional=True), normal(T, B, D)
    state = state_for(layer, B)
    rows = [called(layer, x[:, b], tuple(part[:, b] for part in state)) for b in range(B)]
    joined = {name: torch.stack([row[name] for row in rows], dim=1) for name in rows[0]}
    assert_near(with_gradients(layer, joined, inputs(x, state)), results(layer, x, state))


def reach(layer: Any, x: Tensor) -> Tensor:
    """Whether output t of row b depends on input s of row r: (T, B, T, B)."""
    y = called(layer, x)["y"]
    u = torch.arange(1.0, y.shape[-1] + 1).double()  # no unit's share may cancel another's
    depends = [
        torch.autograd.grad(y[t, b] @ u, x, retain_graph=True)[0].abs().amax(-1) > 0
        for t in range(T)
        for b in range(B)
    ]
    return torch.stack(depends).view(T, B, T, B)


@each_variant
def test_outputs_depend_on_all_of_their_past_alone(variant: str) -> None:
    t, b = torch.arange(T), torch.arange(B)
    is_past = (t[None, :] <= t[:, None])[:, None, :, None]  # (T, 1, T, 1)
    is_own = (b[None, :] == b[:, None])[None, :, None, :]  # (1, B, 1, B)
    x = normal(T, B, D)
    assert torch.equal(reach(made(variant), x), is_past & is_own)
    assert torch.equal(reach(made(variant, bidirectional=True), x), is_own.expand(T, B, T, B))
