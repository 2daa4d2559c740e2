"""Rotary positions: the product of a query and a key depends on how far apart they are, alone.

That lets a cache of keys slide: which position is called 0 has no meaning.
"""

import random

import torch

from carousel.ops.positions import rotate, rotations
from carousel.verify.figure import Figure, distance, worst
from carousel.verify.streaming import BOUND

FARTHEST = 1000  # positions; an angle's digits are lost as they grow


def relative(seeds: range) -> Figure:
    """Return how much products differ when all positions move on."""
    return worst(_one(seed) for seed in seeds)


def _one(seed: int) -> Figure:
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    steps, features = rng.randint(2, 7), 2 * rng.randint(1, 4)
    q, k = torch.randn(2, 3, steps, features, generator=generator, dtype=torch.float64)

    def products(first: int) -> torch.Tensor:
        places = torch.arange(first, first + steps)
        cos, sin = rotations(places, features, torch.float64)
        return rotate(q, cos, sin) @ rotate(k, cos, sin).mT

    moved = rng.randint(1, FARTHEST)
    want, got = products(0), products(moved)
    return distance({"products": got}, {"products": want}, BOUND, f"seed {seed}, moved by {moved}")
