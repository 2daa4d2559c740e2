"""The figures of math/lstm/gradient_analysis: what is left of a gradient, by lag and by path."""

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import carousel
from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE
from carousel.ops import lstm
from carousel.ops.recurrence import DenseInput, forward
from carousel.tales import tell

UNITS, LANES, WINDOW, LAGS = 32, 16, 20, 40


def model(steps: int) -> tuple[nn.Module, carousel.LSTM, nn.Module, Tensor]:
    """Return embedding, layer and output after so many optimiser steps on tales, and other ids."""
    text = tell(0, 120_000).text
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(letter) for letter in text[:120_000]]).view(LANES, -1).T
    torch.manual_seed(0)
    embedding = nn.Embedding(len(letters), UNITS).double()
    output = nn.Linear(UNITS, len(letters)).double()
    layer = carousel.LSTM(UNITS, UNITS, backend="bptt").double()
    parameters = [p for part in (embedding, layer, output) for p in part.parameters()]
    adam, state = torch.optim.Adam(parameters, 1e-2), None
    for step in range(steps):
        window = ids[WINDOW * step :][: WINDOW + 1]
        y, (h, c) = layer(embedding(window[:-1]), state)
        loss = cross_entropy(output(y).flatten(0, 1), window[1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        state = h.detach(), c.detach()
    return embedding, layer, output, ids[-2 * LAGS :]


def by_leaving(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return, by lag from 0: the whole gradient of c, the direct path's, and the shares of each k.

    The loss is that of the last prediction, the gradient that of c so many time steps before.
    """
    embedding, layer, output, ids = model(steps)
    w_ih, w_hh, b_ih, b_hh = (weight.detach() for weight in layer.parameters())
    weights, state = {"w_hh": w_hh, "b_hh": b_hh}, (torch.zeros(LANES, UNITS).double(),) * 2
    x = embedding(ids[:-1]).detach()
    outputs, _, trace = forward(lstm.LSTM, DenseInput(x, w_ih, b_ih), state, weights)
    h = outputs[-1].requires_grad_()
    dh = torch.autograd.grad(cross_entropy(output(h), ids[-1], reduction="sum"), h)[0]
    ph = torch.zeros(LAGS + 2, LANES, UNITS).double()
    pc = ph.clone()
    ph[0] = dh  # of each k
    wholes, directs, shares = [], [], []
    for cache in trace.caches[::-1][: LAGS + 1]:
        o, tanh_c = cache[5:7]
        of_c = pc + ph * o * (1 - tanh_c * tanh_c)
        whole = of_c.sum(0)
        wholes.append(whole.norm())
        directs.append(of_c[0].norm())
        shares.append((of_c * whole).sum((1, 2)) / (whole * whole).sum())
        _, (left, pc), _ = lstm.step_backward((ph, pc), cache, weights)
        ph = torch.cat([0 * left[:1], left[:-1]])
    return torch.stack(wholes), torch.stack(directs), torch.stack(shares)


def paths(axes: Axes) -> None:
    """Draw the whole gradient and the direct path's over the lag, before and after training."""
    for steps, colour in ((0, ORANGE), (100, BLUE)):
        whole, direct, _ = by_leaving(steps)
        name = f"after {steps} steps" if steps else "untrained"
        axes.plot(whole / whole[0], color=colour, label=f"{name}: whole gradient")
        axes.plot(direct / whole[0], color=colour, linestyle="--", label=f"{name}: direct path")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda size, _: f"{size:.0e}")
    axes.set_xlabel("lag, time steps")
    axes.set_ylabel("size of the gradient of c (at lag 0: 1)")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


def time_scale(axes: Axes) -> None:
    """Draw what one unit keeps, over the lag, for several biases."""
    lags = torch.arange(0, 101)
    for bias, colour in ((0, INK), (1, GREEN), (2, ORANGE), (5, BLUE)):
        f = torch.sigmoid(torch.tensor(float(bias)))
        label = f"bias {bias}: 1 / (1 − f) = {1 / (1 - f):.1f} time steps"
        axes.plot(lags, f**lags, color=colour, label=label)
    axes.set_xlabel("lag, time steps")
    axes.set_ylabel("what the direct path keeps")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


FIGURES = {"paths": (paths, (7.2, 4.2)), "time_scale": (time_scale, (7.2, 3.6))}
