"""The fixed window and its reverses against the paper, torch and differences; what it sees."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from assertions import assert_near
from carousel.ops import mlp
from carousel.verify.functions import EMBEDDING, MLP, WINDOW
from carousel.verify.op_spec import Case
from hand_derived import by_hand, random, with_gradients

B, T, V, D, N, H = 3, 6, 7, 5, 4, 2
IDS = torch.tensor(
    [
        [-1, -1, -1, 0, 6, 3, 3, 1, 2],
        [2, 2, 2, 2, 2, 2, 2, 2, 2],
        [-1, 5, 6, 4, 0, 6, 4, 1, 0],
    ]
)


def embedded(ids: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda table: by_hand(Case(EMBEDDING, {"V": V}, {"table": table}, {"ids": ids}))["x"]


def windowed(n: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda x, w, b: by_hand(Case(MLP, {"O": n}, {"x": x, "w": w, "b": b}, {}))["h"]


def case(ids: Tensor, table: Tensor, w: Tensor, b: Tensor) -> Case:
    return Case(WINDOW, {"V": V, "O": N}, {"table": table, "w": w, "b": b}, {"ids": ids})


def whole(ids: Tensor, table: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Ids to hidden layer, each part with its own reverse."""
    return by_hand(case(ids, table, w, b))["h"]


def parameters(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    shapes = {"table": (V, D), "w": (H, N * D), "b": (H,)}
    return {name: random(*s, seed=k, dtype=dtype) for k, (name, s) in enumerate(shapes.items())}


def test_is_its_definition() -> None:
    """Bengio et al. 2003, section 2, number by number."""
    p = parameters()
    table, w, b = (tensor.tolist() for tensor in p.values())
    got = whole(IDS, **p)
    for i in range(B):
        for t in range(T):
            ids = IDS[i, t : t + N].tolist()  # the window that ends at position t
            x = [number for v in ids for number in (table[v] if v >= 0 else [0.0] * D)]
            want = [
                math.tanh(math.fsum(a * u for a, u in zip(row, x, strict=True)) + shift)
                for row, shift in zip(w, b, strict=True)
            ]
            assert got[i, t].tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_is_torchs_in_value_and_gradient(dtype: torch.dtype) -> None:
    p = parameters(dtype)

    def theirs(*tensors: Tensor) -> Tensor:
        assert WINDOW.reference is not None
        return WINDOW.reference(case(IDS, *tensors))["h"]

    got = with_gradients(lambda *tensors: whole(IDS, *tensors), **p)
    assert_near(got, with_gradients(theirs, **p))


def test_matches_finite_differences() -> None:
    p = parameters()
    assert torch.autograd.gradcheck(embedded(IDS), p["table"])
    assert torch.autograd.gradcheck(windowed(N), (random(2, N + 1, D), p["w"], p["b"]))
    assert torch.autograd.gradcheck(windowed(1), (random(2, 3, N * D), p["w"], p["b"]))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)], ids=str)
def test_ids_of_any_shape_have_their_rows(shape: tuple[int, ...]) -> None:
    ids = torch.randint(-1, V, shape, generator=torch.Generator().manual_seed(2))
    table = parameters()["table"]
    want = with_gradients(lambda t: torch.cat([t, t.new_zeros(1, D)])[ids], table=table)
    assert_near(with_gradients(embedded(ids), table=table), want)


def test_no_token_is_zero_and_gives_no_gradient() -> None:
    table = parameters()["table"]
    ids = torch.full((2, 3), -1)
    assert not mlp.embed(ids, table).any()
    assert not mlp.embed_backward(random(2, 3, D), ids, V).any()


def test_an_id_beyond_the_table_is_refused() -> None:
    """And is not taken for the row of zeros."""
    with pytest.raises(IndexError, match="out of bounds"):
        mlp.embed(torch.tensor([V]), parameters()["table"])


def test_a_token_collects_the_gradients_of_all_its_places() -> None:
    dx = random(B, T + N - 1, D)
    dtable = mlp.embed_backward(dx, IDS, V)
    for v in range(V):
        torch.testing.assert_close(dtable[v], dx[IDS.eq(v)].sum(0))


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_a_window_is_its_neighbours_the_oldest_first(n: int) -> None:
    x = random(B, T + n - 1, D)
    got = mlp.windows(x, n)
    assert got.shape == (B, T, n * D)
    for t in range(T):
        assert torch.equal(got[:, t], torch.cat([x[:, t + k] for k in range(n)], dim=-1))


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_the_reverse_of_the_windows_is_their_transpose(n: int) -> None:
    """Of a linear map it must be: ⟨windows(x), dw⟩ = ⟨x, windows_backward(dw)⟩."""
    x, dw = random(B, T + n - 1, D), random(B, T, n * D, seed=1)
    dx = mlp.windows_backward(dw, n)
    assert dx.shape == x.shape
    torch.testing.assert_close((mlp.windows(x, n) * dw).sum(), (x * dx).sum(), rtol=1e-12, atol=0)


def test_a_position_sees_exactly_n_tokens() -> None:
    """Another token n or more places back, or later, changes nothing; one in the window does."""
    p = parameters()
    h = whole(IDS, **p)
    for s in range(T + N - 1):  # in the window of s - N + 1, …, s
        other_ids = IDS.clone()
        other_ids[:, s] = (IDS[:, s] + 1) % V
        changed = (whole(other_ids, **p) != h).any(-1)
        positions = torch.arange(T)
        sees = (positions <= s) & (positions > s - N)
        assert torch.equal(changed, sees.expand(B, T))


def test_a_gradient_reaches_exactly_n_places() -> None:
    x, (_, w, b) = random(B, T + N - 1, D), parameters().values()
    for t in range(T):
        (dx,) = torch.autograd.grad(windowed(N)(x, w, b)[:, t].sum(), x)
        reached = torch.arange(T + N - 1).sub(t).clamp(0, N - 1).add(t).eq(torch.arange(T + N - 1))
        assert torch.equal(dx.any(-1), reached.expand(B, -1))


@pytest.mark.parametrize("cut", range(1, T))
def test_the_last_ids_are_all_that_a_stream_needs_of_its_past(cut: int) -> None:
    p = parameters()
    first, second = IDS[:, : cut + N - 1], IDS[:, cut:]  # which begins with the N - 1 before it
    pieces = torch.cat([whole(first, **p), whole(second, **p)], dim=1)
    assert_near({"h": pieces}, {"h": whole(IDS, **p)})


def test_the_embeddings_gradient_has_the_same_bits_again_and_with_other_threads() -> None:
    """Large enough for torch to share it among threads."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(30, (64, 32), generator=generator)
    dx = torch.randn(64, 32, 256, generator=generator)
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 2, 2, 2, 4):
            torch.set_num_threads(n)
            found.append(mlp.embed_backward(dx, ids, 30))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(d, found[0]) for d in found)
