"""Let the kernel write, read what it wrote with the plain model, and count the draws that differ.

python experiments/decoding/run.py RUN [--characters 1000000]

The plain model is handed the kernel's ids, so that one draw that differs does not make all that
follow differ too. Each of its distributions goes through the stages of ops/sampling.py and meets
the same uniform. A draw that differs is one of rounding if the uniform lies within 1e-5 of a
boundary of the cumulative distribution.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import carousel
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.next_token import sampler_settings
from carousel.generation.request import Request
from carousel.models.base import LanguageModel
from carousel.models.checkpoint import load_model
from carousel.ops.sampling import distribution, draw, uniform

BOUND = 1e-5
STREAMS, PROMPT, CHUNK = 64, 20, 100
SETTINGS = {
    "temperature 1": {"temperature": 1.0},
    "temperature 0.7": {"temperature": 0.7},
    "temperature 0.8, top-k 40": {"top_k": 40},
    "temperature 0.9, top-p 0.9": {"temperature": 0.9, "top_p": 0.9},
    "temperature 1, penalty 1.2 over 64": {
        "temperature": 1.0,
        "repetition_penalty": 1.2,
        "repetition_window": 64,
    },
    "temperature 1.2, min-p 0.05": {"temperature": 1.2, "min_p": 0.05},
}


class Found(NamedTuple):
    """What a comparison found.

    Attributes:
        draws: How many were compared.
        differing: How many of them differ.
        farthest: Of these, how far the uniform was from the nearest boundary, at most.
    """

    draws: int
    differing: int
    farthest: float


def main() -> None:
    """Compare under every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--characters", type=int, default=1_000_000)
    asked = parser.parse_args()
    model = load_model(asked.run).model
    length = math.ceil(asked.characters / len(SETTINGS) / STREAMS)
    print("| settings | draws | differing | farthest from a boundary |")
    print("|---|--:|--:|--:|")
    every = []
    for seed, (name, changes) in enumerate(SETTINGS.items()):
        every.append(compare(model, SamplingConfig(seed=seed, **changes), STREAMS, length))
        print(row(name, every[-1]), flush=True)
    draws, differing, farthest = zip(*every, strict=True)
    print(row("all", Found(sum(draws), sum(differing), max(farthest))))
    if max(farthest) > BOUND:
        raise SystemExit(f"a draw differs that is farther than {BOUND:.0e} from a boundary")


def row(name: str, found: Found) -> str:
    """Return a line of the table."""
    farthest = f"{found.farthest:.1e}" if found.differing else "—"
    return f"| {name} | {found.draws:,} | {found.differing} | {farthest} |"


def compare(model: LanguageModel, config: SamplingConfig, streams: int, length: int) -> Found:
    """Write so many texts of so many characters with the kernel, and draw them again without."""
    rng = random.Random(config.seed)
    prompts = [[rng.randrange(model.vocab_size) for _ in range(PROMPT)] for _ in range(streams)]
    texts = written(model, config, prompts, length)
    ids = torch.tensor([[*prompt, *text] for prompt, text in zip(prompts, texts, strict=True)])
    differing, farthest = 0, 0.0
    for first, p in distributions(model, config, ids):
        u = torch.tensor(
            [
                [uniform(config.seed, n, t) for t in range(first, first + p.shape[1])]
                for n in range(streams)
            ],
            dtype=torch.float64,
        )
        got = ids[:, PROMPT + first :][:, : p.shape[1]]
        others = draw(p, u) != got
        if others.any():
            boundaries = p[others].cumsum(-1) / p[others].sum(-1, keepdim=True)
            distance = (boundaries - u[others].unsqueeze(-1)).abs().amin(-1)
            differing += len(distance)
            farthest = max(farthest, float(distance.max()))
    return Found(streams * length, differing, farthest)


def written(
    model: LanguageModel, config: SamplingConfig, prompts: list[list[int]], length: int
) -> list[list[int]]:
    """Return what the kernel writes after the prompts."""
    engine = Engine(model)
    if not isinstance(engine._runner, KernelRunner):
        raise SystemExit("there is no kernel for this: carousel kernels status says why")
    texts: list[list[int]] = [[] for _ in prompts]
    for n, prompt in enumerate(prompts):
        engine.add(n, Request(prompt=prompt, length=length, sampling=config, sample=n))
    while len(engine):
        for output in engine.step(1.0):
            texts[output.key] += output.ids  # type: ignore[index]
    return texts


@torch.inference_mode()
def distributions(
    model: LanguageModel, config: SamplingConfig, ids: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first draw's number, and p (B, T, V) of it and the next ones, by the plain model.

    ids (B, N) are all that was read and drawn.
    """
    with carousel.backend("bptt"):
        _, state = model(ids[:, : PROMPT - 1])
    for first in range(PROMPT - 1, ids.shape[1] - 1, CHUNK):
        last = min(first + CHUNK, ids.shape[1] - 1)
        with carousel.backend("bptt"):
            logits, state = model(ids[:, first:last], state)
        begin = max(0, first + 1 - config.repetition_window)
        seen = torch.nn.functional.one_hot(ids[:, begin:last], model.vocab_size).cumsum(1)
        seen = torch.nn.functional.pad(seen, (0, 0, 1, 0))  # [t]: of those before begin + t
        ends = torch.arange(first + 1, last + 1)
        starts = (ends - config.repetition_window).clamp(min=begin)
        recent = seen[:, ends - begin] > seen[:, starts - begin]
        yield first + 1 - PROMPT, distribution(logits, recent, sampler_settings(config))


if __name__ == "__main__":
    main()
