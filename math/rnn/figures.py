"""Figures of math/rnn; drawn by math/draw.py."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch
from torch import Tensor

from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE
from carousel.ops.recurrence import DenseInput, Saved, forward
from carousel.ops.rnn import RNN_TANH


def unrolled(axes: Axes) -> None:
    """Four time steps: the state goes right through one matrix, the gradient comes back."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.3, 8.6)
    axes.set_ylim(-1.75, 1.75)
    places = [(0.2 + 2 * t, 0.0) for t in range(5)]
    for t, (x, y) in enumerate(places):
        last = "t" if t == 4 else f"t−{4 - t}"
        axes.add_patch(Circle((x, y), 0.33, fill=False, edgecolor=INK, linewidth=1.5))
        axes.text(x, y, f"h({last})", color=INK, ha="center", va="center", fontsize=8)
        if t == 0:
            continue
        arrow(axes, (x - 1.62, y + 0.1), (x - 0.38, y + 0.1), BLUE)
        arrow(axes, (x - 0.38, y - 0.12), (x - 1.62, y - 0.12), ORANGE)
        axes.text(x - 1, 0.2, "W", color=BLUE, ha="center", va="bottom")
        axes.text(x - 1, -0.22, f"J({last})", color=ORANGE, ha="center", va="top")
        arrow(axes, (x, -1.1), (x, -0.38), BLUE)
        axes.text(x, -1.15, f"x({last})", color=BLUE, ha="center", va="top")
        arrow(axes, (x - 0.07, 0.38), (x - 0.07, 1.1), BLUE)
        arrow(axes, (x + 0.09, 1.1), (x + 0.09, 0.38), ORANGE)
        axes.text(x, 1.15, f"L({last})", color=INK, ha="center", va="bottom")
    axes.text(0, 1.5, "state", color=BLUE, ha="left", va="center")
    axes.text(0.85, 1.5, "gradient", color=ORANGE, ha="left", va="center")


def arrow(axes: Axes, tail: tuple[float, float], head: tuple[float, float], color: str) -> None:
    """Draw an arrow from tail to head."""
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.4}
    axes.add_patch(FancyArrowPatch(tail, head, color=color, shrinkA=0, shrinkB=0, **style))


def trace_of(w: Tensor, x: Tensor) -> Saved:
    """Run the op over inputs (T, B, H) that go to the units as they are."""
    eye = torch.eye(len(w), dtype=w.dtype)
    return forward(RNN_TANH, DenseInput(x, eye), (torch.zeros_like(x[0]),), {"w_hh": w})[2]


def vanishing(axes: Axes) -> None:
    """The logarithm of the gradient's norm against the lag, beside its bound."""
    units, read = 64, 60
    rows = [
        (0.9, 0.0, BLUE, "σ = 0.9, at rest: the bound itself", (31, -0.9)),
        (0.9, 1.0, BLUE, "σ = 0.9, with input", (14, -9)),
        (1.5, 1.0, ORANGE, "σ = 1.5, with input", (41, -5)),
        (3.0, 1.0, GREEN, "σ = 3, with input", (43, 3)),
    ]
    lags = torch.arange(read + 1)
    for sigma, loudness, color, said, place in rows:
        torch.manual_seed(1)
        w = sigma * torch.linalg.qr(torch.randn(units, units, dtype=torch.float64))[0]
        x = loudness * torch.randn(read, 8, units, dtype=torch.float64)
        dh = torch.nn.functional.normalize(torch.randn(8, units, dtype=torch.float64))
        logs = [0.0]
        for cache in reversed(trace_of(w, x).caches):
            _, (dh,), _ = RNN_TANH.step_backward((dh,), cache, {"w_hh": w})
            logs.append(dh.norm(dim=1).log10().mean().item())
        axes.plot(lags, logs, color=color, linewidth=1.8)
        axes.plot(lags, lags * math.log10(sigma), color=color, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(*place, said, color=color)
    axes.text(15.5, 8.5, "bound 3ⁿ", color=GREEN, ha="right")
    axes.text(46, 9.1, "bound 1.5ⁿ", color=ORANGE, ha="right")
    axes.set_ylim(-14, 11)
    axes.set_xlim(0, read)
    axes.set_xlabel("lag n, time steps")
    axes.set_ylabel("log10 of the gradient's length")


def lyapunov(axes: Axes) -> None:
    """The largest exponent against the scale of the recurrent weights, alone and driven.

    One chaotic sequence is another one after the least change of arithmetic. The mean over many of
    them, each from a start of its own, stays within the width of the line on every processor.
    """
    units, sequences, read, skipped = 64, 256, 400, 100
    generator = torch.Generator().manual_seed(3)
    gaussian = torch.randn(units, units, dtype=torch.float64, generator=generator) / units**0.5
    noise = torch.randn(read, sequences, units, dtype=torch.float64, generator=generator)
    start = torch.randn(sequences, units, dtype=torch.float64, generator=generator)
    scales = torch.linspace(0.3, 4, 26, dtype=torch.float64)
    rows = [
        (0.0, BLUE, "no input"),
        (1.0, ORANGE, "input of standard deviation 1"),
        (2.0, GREEN, "input of standard deviation 2"),
    ]
    for loudness, color, said in rows:
        exponents = []
        for scale in scales:
            w = scale * gaussian
            source, weights = DenseInput(loudness * noise, torch.eye(units).double()), {"w_hh": w}
            trace = forward(RNN_TANH, source, (start,), weights)[2]
            u, logs = torch.ones(sequences, units, dtype=torch.float64), []
            for _, slopes in trace.caches:
                u = slopes * (u @ w.T)
                lengths = u.norm(dim=1, keepdim=True)
                logs.append(lengths.log().mean().item())
                u = u / lengths
            exponents.append(sum(logs[skipped:]) / (read - skipped))
        axes.plot(scales, exponents, color=color, linewidth=1.8, label=said)
    rho = torch.linalg.eigvals(gaussian).abs().max()
    axes.plot(scales, (scales * rho).log(), color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(2.1, 0.95, "log ρ(W)", color=INK, ha="right")
    axes.axhline(0, color=INK, linewidth=1)
    axes.text(4, 0.03, "explodes", color=INK, ha="right", va="bottom")
    axes.text(4, -0.03, "vanishes", color=INK, ha="right", va="top")
    axes.set_ylim(-1.7, 1.5)
    axes.legend(frameon=False, labelcolor=INK, loc="lower right")
    axes.set_xlabel("g, scale of the recurrent weights")
    axes.set_ylabel("largest exponent, nats per time step")


def forgetting(axes: Axes) -> None:
    """What a linear decoder recovers of each input, against how long ago it was."""
    units, read = 8, 40
    torch.manual_seed(1)
    q = torch.linalg.qr(torch.randn(units, units, dtype=torch.float64))[0]
    u = torch.randn(units, 1, dtype=torch.float64) / units**0.5
    x = torch.randn(4000, read, dtype=torch.float64)
    rows = [
        (0.5, 1.0, torch.nn.Identity(), BLUE, "-", "linear, W = 0.5 Q"),
        (1.0, 1.0, torch.nn.Identity(), GREEN, "-", "linear, W = Q"),
        (0.9, 0.1, torch.tanh, ORANGE, "-", "tanh, W = 0.9 Q, faint input"),
        (0.9, 3.0, torch.tanh, ORANGE, (0, (4, 3)), "tanh, W = 0.9 Q, loud input"),
    ]
    for scale, loudness, squash, color, style, said in rows:
        h = torch.zeros(len(x), units, dtype=torch.float64)
        for t in range(read):
            h = squash(h @ (scale * q).T + loudness * x[:, t : t + 1] @ u.T)
        decoder = torch.linalg.lstsq(h[:2000], x[:2000]).solution
        shares = 1 - (x[2000:] - h[2000:] @ decoder).var(0) / x[2000:].var(0)
        label = f"{said}: {shares.clamp(min=0).sum():.1f} in all"
        axes.plot(shares.flip(0).clamp(min=0), color=color, linestyle=style, label=label)
    axes.legend(frameon=False, labelcolor=INK)
    axes.set_xlim(0, read - 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("how long ago the input was, time steps")
    axes.set_ylabel("share of its variance recovered, 8 units")


FIGURES = {
    "unrolled": (unrolled, (7.2, 2.9)),
    "vanishing": (vanishing, (7.2, 4.2)),
    "lyapunov": (lyapunov, (7.2, 4.2)),
    "forgetting": (forgetting, (7.2, 4.2)),
}
