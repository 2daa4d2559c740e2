"""Attention forward and backward: plain, in blocks, and torch's; time and memory against length.

python benchmarks/attention.py [--repeats 9] [--threads 2] [--context 0]

All in one run, interleaved; medians with the quartiles. Memory is what a process of its own takes
at its peak above what it had before, in MiB (Linux only).
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from carousel.nn.attention import attend, attention_with_weights
from carousel.ops.attention import AttentionMask, build_mask

B, N, K = 4, 4, 32  # sequences, heads, features of a head
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
_PLAIN_UP_TO = 2048  # plain attention keeps 4 matrices of B·N·T² numbers

Attend = Callable[[Tensor, Tensor, Tensor, int | None], Tensor]


def plain(q: Tensor, k: Tensor, v: Tensor, context: int | None) -> Tensor:
    """Ours, with all its weights in memory."""
    return attention_with_weights(q, k, v, AttentionMask(context or q.shape[2]))[0]


def in_blocks(q: Tensor, k: Tensor, v: Tensor, context: int | None) -> Tensor:
    """Ours, as training runs it."""
    return attend(q, k, v, AttentionMask(context or q.shape[2]))


def of_torch(q: Tensor, k: Tensor, v: Tensor, context: int | None) -> Tensor:
    """F.scaled_dot_product_attention: flash attention on CPU; a window is a mask to it."""
    if context is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    unseen = build_mask(AttentionMask(context), q.shape[2], k.shape[2])
    assert unseen is not None
    return F.scaled_dot_product_attention(q, k, v, attn_mask=~unseen)


WAYS: dict[str, Attend] = {"plain": plain, "in blocks": in_blocks, "torch": of_torch}


def main() -> None:
    """Print one table of time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=0, help="window; 0: all that is past")
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    context = asked.context or None
    heads = [f"{name} {unit}" for unit in ("ms", "MiB") for name in WAYS]
    print(f"| T | {' | '.join(heads)} | blocks / plain | torch / blocks |")
    print("|--:" * (len(heads) + 3) + "|")
    for steps in asked.lengths:
        ways = [name for name in WAYS if name != "plain" or steps <= _PLAIN_UP_TO]
        times = interleaved(ways, steps, context, asked.repeats)
        peaks = {name: peak(name, steps, context, asked.threads) for name in ways}
        cells = [shown(times.get(name, [])) for name in WAYS]
        cells += [f"{peaks[name]:,.0f}" if name in peaks else "" for name in WAYS]
        middle = {name: statistics.median(figures) for name, figures in times.items()}
        ratio = f"{middle['plain'] / middle['in blocks']:.2f}×" if "plain" in middle else ""
        cells += [ratio, f"{middle['torch'] / middle['in blocks']:.2f}×"]
        print(f"| {steps:,} | {' | '.join(cells)} |", flush=True)


def interleaved(
    ways: Sequence[str], steps: int, context: int | None, repeats: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each way, measured in turns after one round to warm up."""
    inputs = drawn(steps)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name in ways:
            start = time.perf_counter()
            forward_and_backward(WAYS[name], inputs, context)
            if repeat:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def drawn(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random queries, keys and values (B, N, T, K)."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, B, N, steps, K, generator=generator).unbind(0)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def forward_and_backward(
    way: Attend, inputs: tuple[Tensor, Tensor, Tensor], context: int | None
) -> None:
    """Compute the outputs, and the gradients of their sum of squares."""
    y = way(*inputs, context)
    torch.autograd.grad(y.square().sum(), inputs)


def peak(name: str, steps: int, context: int | None, threads: int) -> float:
    """Return the MiB that a process of its own takes for one pass."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, steps, context, threads))


def _peak(name: str, steps: int, context: int | None, threads: int) -> float:
    torch.set_num_threads(threads)
    forward_and_backward(WAYS[name], drawn(64), context)  # libraries and pools
    inputs = drawn(steps)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark is now what is held
    before = _highest()
    forward_and_backward(WAYS[name], inputs, context)
    return _highest() - before


def _highest() -> float:
    """Return the largest memory that was ever held, in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    (kibibytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) / 2**10


def shown(times: Sequence[float]) -> str:
    """Return the median of some times, and the quartiles around it."""
    if not times:
        return ""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


if __name__ == "__main__":
    main()
