"""Embedding against torch's; and id -1, which is no token."""

import pytest
import torch
from torch import nn

from assertions import assert_near
from carousel.nn.embedding import Embedding
from hand_derived import random, with_gradients

V, D = 7, 4


@pytest.mark.parametrize("shape", [(3, 5), (6,), (), (2, 0)], ids=str)
def test_it_is_torchs(shape: tuple[int, ...]) -> None:
    """Ids that come again collect their gradients; those that never come get zeros."""
    ours, theirs = Embedding(V, D).double(), nn.Embedding(V, D).double()
    ours.load_state_dict(theirs.state_dict())
    ids = torch.randint(V - 2, shape, generator=torch.Generator().manual_seed(0))
    got, want = (
        with_gradients(lambda table, run=layer: run(ids), table=layer.weight)
        for layer in (ours, theirs)
    )
    assert_near(got, want)
    assert (got["dtable"][V - 2 :] == 0).all()


def test_no_token_is_the_zero_vector_and_learns_nothing() -> None:
    layer = Embedding(V, D).double()
    ids = torch.tensor([[-1, 2, -1], [0, -1, 2]])
    found = with_gradients(lambda table: layer(ids), table=layer.weight)
    assert (found["y"][ids == -1] == 0).all()
    assert torch.equal(found["y"][ids >= 0], layer.weight[ids[ids >= 0]])
    dy = random(2, 3, D, seed=1).detach()  # as with_gradients draws it
    want = torch.zeros(V, D, dtype=torch.float64)
    want[2], want[0] = dy[0, 1] + dy[1, 2], dy[1, 0]
    torch.testing.assert_close(found["dtable"], want)


def test_it_begins_as_torchs() -> None:
    torch.manual_seed(0)
    ours = Embedding(V, D).state_dict()
    torch.manual_seed(0)
    theirs = nn.Embedding(V, D).state_dict()
    assert list(ours) == list(theirs)
    assert torch.equal(ours["weight"], theirs["weight"])


@pytest.mark.parametrize("token", [V, V + 5])
def test_a_token_beyond_the_table_is_refused(token: int) -> None:
    with pytest.raises(IndexError):
        Embedding(V, D)(torch.tensor([token]))
