"""Packed batches: every sequence is computed as if it were alone, in both directions."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from twins import D, States, Tensors, called, each_variant, made, normal, state_for, with_gradients

from assertions import assert_near

LENGTHS = (3, 1, 6, 3)


def alone(layer: Any, sequences: list[Tensor], state: States) -> Tensors:
    """Each sequence by itself; outputs padded with zeros, states side by side."""
    longest, rows = max(LENGTHS), []
    for b, x in enumerate(sequences):
        row = called(layer, x, tuple(part[:, b] for part in state))
        rows.append(
            row
            | {"y": torch.cat([row["y"], row["y"].new_zeros(longest - len(x), row["y"].shape[1])])}
        )
    return {name: torch.stack([row[name] for row in rows], dim=1) for name in rows[0]}


def together(layer: Any, sequences: list[Tensor], state: States) -> Tensors:
    packed = pack_sequence(sequences, enforce_sorted=False)
    y, last = layer(packed, state if len(state) == 2 else state[0])
    parts = last if isinstance(last, tuple) else (last,)
    return {"y": pad_packed_sequence(y)[0]} | dict(zip(("h_n", "c_n"), parts, strict=False))


@pytest.mark.parametrize("backend", ["bptt", "autograd"])
@pytest.mark.parametrize("bidirectional", [False, True])
@each_variant
def test_a_packed_sequence_is_the_sequence_alone(
    variant: str, bidirectional: bool, backend: str
) -> None:
    layer = made(variant, bidirectional=bidirectional, backend=backend)
    sequences = [normal(n, D) for n in LENGTHS]
    state = state_for(layer, len(LENGTHS))
    leaves = {f"x_{b}": x for b, x in enumerate(sequences)}
    leaves |= {f"state_{k}": part for k, part in enumerate(state)}
    got = with_gradients(layer, together(layer, sequences, state), leaves)
    assert_near(got, with_gradients(layer, alone(layer, sequences, state), leaves))


def test_a_sequence_that_has_ended_keeps_its_bits() -> None:
    """Whatever the longer ones do: also while zoneout is drawn."""
    layer = made("LSTM zoneout").train()
    sequences = [normal(n, D) for n in LENGTHS]
    y, (h_n, _) = layer(pack_sequence(sequences, enforce_sorted=False))
    padded, lengths = pad_packed_sequence(y)
    for b, n in enumerate(lengths.tolist()):
        assert torch.equal(padded[n - 1, b], h_n[-1, b])
