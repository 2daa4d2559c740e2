"""The figures of math/gru: what is left of a gradient, by path."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

import carousel
from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE
from carousel.nn.initialization import set_forget_bias
from carousel.ops import gru
from carousel.ops.recurrence import DenseInput, forward

LAGS, UNITS = 40, 32


def jacobians(layer: carousel.GRU) -> tuple[list[Tensor], list[Tensor]]:
    """Return the additive and the multiplicative part of each step's Jacobian, on noise."""
    w_ih, w_hh, b_ih, b_hh = (weight.detach().double() for weight in layer.parameters())
    noise = torch.randn(LAGS, 1, UNITS, generator=torch.Generator().manual_seed(1)).double()
    state = (torch.zeros(1, UNITS, dtype=torch.float64),)
    weights = {"w_hh": w_hh, "b_hh": b_hh}
    _, _, trace = forward(gru.GRU, DenseInput(noise, w_ih, b_ih), state, weights)
    w_r, w_z, w_n = w_hh.chunk(3)
    additive, multiplicative = [], []
    for cache in trace.caches:
        h, r, z, n, u_n = (part.flatten() for part in cache)
        nu = (1 - z) * (1 - n * n)
        slopes = ((h - n) * z * (1 - z), nu * r, nu * u_n * r * (1 - r))
        additive.append(torch.diag(z))
        parts = zip(slopes, (w_z, w_n, w_r), strict=True)
        multiplicative.append(sum((torch.diag(slope) @ w for slope, w in parts), 0 * w_r))
    return additive, multiplicative


def norms(steps: list[Tensor]) -> list[float]:
    """Return the Frobenius norm, with that of I as 1, of the product of the last k from 0 on."""
    product = torch.eye(UNITS, dtype=torch.float64)
    found = [1.0]
    for step in reversed(steps):
        product = product @ step
        found.append(float(product.norm()) / UNITS**0.5)
    return found


def paths(axes: Axes) -> None:
    """Draw the whole gradient and its additive path over the lag, at two biases of the gate."""
    for bias, colour in ((0.0, ORANGE), (3.0, BLUE)):
        torch.manual_seed(0)
        layer = carousel.GRU(UNITS, UNITS)
        if bias:
            set_forget_bias(layer, bias)
        additive, multiplicative = jacobians(layer)
        whole = [a + m for a, m in zip(additive, multiplicative, strict=True)]
        name = f"bias {bias:.0f}" if bias else "as drawn"
        axes.plot(norms(whole), color=colour, label=f"GRU, {name}: whole")
        axes.plot(
            norms(additive), color=colour, linestyle="--", label=f"GRU, {name}: additive path"
        )
    axes.plot(norms(of_an_rnn()), color=GREEN, label="RNN: whole")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda size, _: f"{size:.0e}")
    axes.set_xlabel("lag, time steps")
    axes.set_ylabel("size of the Jacobian (that of I is 1)")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


def of_an_rnn() -> list[Tensor]:
    """Return each step's Jacobian of an RNN of the same size, on the same noise."""
    torch.manual_seed(0)
    layer = carousel.RNN(UNITS, UNITS).double()
    noise = torch.randn(LAGS, 1, UNITS, generator=torch.Generator().manual_seed(1)).double()
    h = layer(noise)[0].detach()[:, 0]
    return [torch.diag(1 - h_t * h_t) @ layer.weight_hh_l0.detach() for h_t in h]


FIGURES = {"paths": (paths, (7.2, 4.2))}
