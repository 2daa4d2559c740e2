"""Recurrences to run both ways: by a kernel, and by ops/ in double precision."""

from collections.abc import Mapping

import torch
from torch import Tensor

from carousel.kernels.dispatch import BPTT, FUSED, Implementation
from carousel.nn.recurrence import run
from carousel.ops import gru, lstm, rnn
from carousel.ops.recurrence import DenseInput, EmbeddedInput, Family, Masks, Source

FAMILIES = {
    family.name: family
    for family in (lstm.LSTM, gru.GRU, gru.GRU_RESET_BEFORE, rnn.RNN_TANH, rnn.RNN_RELU)
}
R = 9  # rows of a table

# T, B, D, H: none, one and several of the 16 that numbers are padded to, and odd ones; more rows
# than the 1024 of a span, by many steps and by one.
SIZES = [
    (1, 1, 1, 1), (7, 5, 3, 17), (2, 1, 33, 5), (6, 70, 16, 32), (40, 6, 64, 48),
    (11, 131, 5, 20), (2, 1100, 3, 17),
]  # fmt: skip

Tensors = dict[str, Tensor]


def inputs(family: Family, sizes: tuple[int, int, int, int], *, is_table: bool = False) -> Tensors:
    """Random tensors of all that a recurrence needs, in float32."""
    T, B, D, H = sizes
    generator = torch.Generator().manual_seed(sum(sizes))

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    G, small = family.gates * H, H**-0.5
    read = (
        {"ids": torch.randint(0, R, (T, B), generator=generator), "table": drawn(R, G)}
        if is_table
        else {"x": drawn(T, B, D), "w_ih": drawn(G, D, scale=small), "b_ih": drawn(G, scale=small)}
    )
    state = {"h_0": drawn(B, H, scale=0.5)} | ({"c_0": drawn(B, H)} if family is lstm.LSTM else {})
    return read | state | {"w_hh": drawn(G, H, scale=small), "b_hh": drawn(G, scale=small)}


def ended(sizes: tuple[int, int, int, int], *, is_sorted: bool) -> Tensor:
    """Where sequences of random lengths are over, (T, B, 1)."""
    T, B, *_ = sizes
    lengths = torch.randint(1, T + 1, (B,), generator=torch.Generator().manual_seed(T))
    lengths = lengths.sort(descending=True).values if is_sorted else lengths
    return (torch.arange(T).unsqueeze(1) >= lengths).unsqueeze(-1).float()


def outputs(
    implementation: Implementation, family: Family, p: Mapping[str, Tensor], over: Tensor | None
) -> Tensors:
    """The outputs and the last state."""
    state = tuple(p[name] for name in ("h_0", "c_0") if name in p)
    source: Source = (
        EmbeddedInput(p["ids"], p["table"])
        if "ids" in p
        else DenseInput(p["x"], p["w_ih"], p.get("b_ih"))
    )
    weights = {name: p[name] for name in ("w_hh", "b_hh") if name in p}
    hold = None if over is None else over.to(p["w_hh"].dtype)
    y, last = run(implementation, family, source, state, weights, Masks((hold,) * len(state)))
    return {"y": y} | dict(zip(("h_n", "c_n"), last, strict=False))


def with_gradients(results: Tensors, p: Mapping[str, Tensor], **how: bool) -> Tensors:
    """The outputs, and the gradients of a random weighted sum of them to every input."""
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (y.double() * torch.randn(y.shape, generator=generator, dtype=torch.float64)).sum()
        for y in results.values()
    )
    wanted = {name: tensor for name, tensor in p.items() if tensor.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()), **how)
    return results | {f"d{name}": d for name, d in zip(wanted, gradients, strict=True)}


def asking(p: Tensors, dtype: torch.dtype) -> Tensors:
    """Leaves of a type that ask for gradients; ids stay what they are."""
    return {
        name: t.detach().to(dtype).requires_grad_() if t.is_floating_point() else t
        for name, t in p.items()
    }


def by_op(family: Family, given: Tensors, over: Tensor | None = None) -> Tensors:
    p = asking(given, torch.float64)
    return with_gradients(outputs(BPTT, family, p, over), p)


def by_kernel(
    family: Family,
    given: Tensors,
    over: Tensor | None = None,
    compute_dtype: torch.dtype = torch.float32,
) -> Tensors:
    p = asking(given, torch.float32)
    return with_gradients(outputs(FUSED[compute_dtype], family, p, over), p)


def assert_same_numbers(got: Tensors, want: Tensors, bound: float) -> None:
    """‖got - want‖ ≤ bound · ‖want‖, whatever their types."""
    assert got.keys() == want.keys()
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        error = (got[name].double() - expected.double()).norm().item()
        scale = expected.double().norm().item()
        assert error <= bound * scale, f"{name} differs by {error:.1e}, its norm is {scale:.1e}"
