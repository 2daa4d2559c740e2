"""From ids: the table and its look-up give what the embedding and its projection give."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from assertions import assert_near
from carousel.ops.embedding import look_up, look_up_backward
from carousel.ops.mlp import embed, embed_backward
from carousel.ops.recurrence import (
    DenseInput,
    EmbeddedInput,
    multiply,
    multiply_backward,
    project,
    project_backward,
    project_embedding,
    project_embedding_backward,
)
from hand_derived import random

T, B, V, D, G = 4, 3, 5, 2, 6
REPEATED = torch.tensor([[0, 4, 0], [4, 1, 0], [0, -1, 4], [0, 0, 1]])  # 2 and 3 stand nowhere
PLACES = {
    "repeated": REPEATED,
    "one alone": torch.full((T, B), 3),
    "no token anywhere": torch.full((T, B), -1),
    "each once": torch.arange(V).view(1, V),
    "one place": torch.tensor([[2]]),
}


class Gradients(NamedTuple):
    """Of the embedding, and what projects it."""

    embedding: Tensor
    w_ih: Tensor
    b_ih: Tensor | None
    gain: Tensor | None


def tokens(*, bias: bool = True, gain: bool = False) -> DenseInput:
    drawn = (random(*shape, seed=k) for k, shape in enumerate([(V, D), (G, D), (G,), (G,)]))
    x, w_ih, b_ih, norm = (tensor.detach() for tensor in drawn)
    return DenseInput(x, w_ih, b_ih if bias else None, norm if gain else None)


def by_table(ids: Tensor, e: DenseInput, da: Tensor) -> tuple[Tensor, Gradients]:
    source = EmbeddedInput(ids + 1, project_embedding(e))
    d = project_backward(da, source)
    assert isinstance(d, EmbeddedInput)
    assert d.ids is None
    assert d.table.shape == source.table.shape
    return project(source), Gradients(*project_embedding_backward(d.table, e))


def by_features(ids: Tensor, e: DenseInput, da: Tensor) -> tuple[Tensor, Gradients]:
    source = e._replace(x=embed(ids, e.x))
    dx, *rest = multiply_backward(da, source)
    return multiply(source), Gradients(embed_backward(dx, ids, len(e.x)), *rest)


def assert_same(ids: Tensor, e: DenseInput) -> None:
    da = random(*ids.shape, G, seed=9).detach()
    got, want = (
        {"a": a} | {f"d{name}": d for name, d in gradients._asdict().items() if d is not None}
        for a, gradients in (by_table(ids, e, da), by_features(ids, e, da))
    )
    assert_near(got, want)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("gain", [True, False], ids=["gain", "no gain"])
@pytest.mark.parametrize("ids", PLACES.values(), ids=PLACES)
def test_a_table_gives_what_features_give(ids: Tensor, gain: bool, bias: bool) -> None:
    assert_same(ids, tokens(bias=bias, gain=gain))


@given(
    ids=st.integers(1, 5).flatmap(
        lambda b: st.lists(
            st.lists(st.integers(-1, V - 1), min_size=b, max_size=b), min_size=1, max_size=6
        )
    ),
    bias=st.booleans(),
    gain=st.booleans(),
)
def test_a_table_gives_what_features_give_whatever_stands_where(
    ids: list[list[int]], bias: bool, gain: bool
) -> None:
    assert_same(torch.tensor(ids), tokens(bias=bias, gain=gain))


def test_no_token_brings_the_bias_alone() -> None:
    for e in (tokens(), tokens(gain=True)):
        assert e.b_ih is not None
        a = project(EmbeddedInput(torch.tensor([[-1, 0]]) + 1, project_embedding(e)))
        assert torch.equal(a[0, 0], e.b_ih)
        assert not torch.equal(a[0, 1], e.b_ih)
    assert (project_embedding(tokens(bias=False))[0] == 0).all()


def test_what_stands_nowhere_gets_no_gradient_and_what_stands_often_the_sum() -> None:
    da = torch.ones(T, B, G)
    dtable = look_up_backward(da, REPEATED + 1, V + 1)
    assert dtable.tolist() == [[float(n)] * G for n in (1, 6, 2, 0, 0, 3)]
    (dx, *_) = project_embedding_backward(dtable.double(), tokens())
    assert (dx[2:4] == 0).all()


@pytest.mark.parametrize("ids", [torch.tensor([[V]]), torch.tensor([[0, V + 3]])])
def test_an_id_of_no_token_is_refused(ids: Tensor) -> None:
    with pytest.raises(IndexError, match=r"out of (range|bounds)"):
        project(EmbeddedInput(ids + 1, project_embedding(tokens())))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sum_of_thousands_survives_half_precision(dtype: torch.dtype) -> None:
    """256 + 1 is 256 in bfloat16: what is added up one by one, rounded each time, stands still."""
    ids = torch.zeros(32, 64, dtype=torch.long)
    dtable = look_up_backward(torch.ones(*ids.shape, 24, dtype=dtype), ids, 3)
    assert dtable.dtype == dtype
    assert dtable[0].tolist() == [2048.0] * 24
    assert (dtable[1:] == 0).all()


def test_the_same_bits_again_and_with_other_threads() -> None:
    """Large enough for torch to share it among threads."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(30, (64, 32), generator=generator)
    da = torch.randn(64, 32, 256, generator=generator)
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 2, 2, 2, 4):
            torch.set_num_threads(n)
            found.append(look_up_backward(da, ids, 30))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(d, found[0]) for d in found)


def test_looking_up_and_adding_up_are_transposes() -> None:
    """⟨look up A, d⟩ = ⟨A, add up d⟩, for rows named by tensors of any axes."""
    for shape in ((), (7,), (2, 3), (2, 3, 4)):
        rows = torch.randint(V, shape, generator=torch.Generator().manual_seed(1))
        table, d = random(V, G, seed=2).detach(), random(*shape, G, seed=3).detach()
        left = (look_up(rows, table) * d).sum()
        torch.testing.assert_close((table * look_up_backward(d, rows, V)).sum(), left)
