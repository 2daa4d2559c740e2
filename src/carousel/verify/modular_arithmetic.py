"""The integers modulo a prime, in torch's tensors of int64: exact sums, products and quotients."""

from collections.abc import Callable
from fractions import Fraction
from math import prod

import torch
from torch import Tensor

P = 2**61 - 1  # a Mersenne prime: int64 holds the sum of four residues
BITS = 31
HALF = 2**BITS  # a residue is high · HALF + low; its bits are taken apart sooner than it is divided


def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw residues, each as likely as any other."""
    return torch.randint(P, shape, generator=generator)


def residue(number: float) -> int:
    """Return a decimal fraction as an element of the field: 1e-5 is the inverse of 100000."""
    fraction = Fraction(str(number))
    return fraction.numerator * pow(fraction.denominator, -1, P) % P


def times(a: Tensor, b: Tensor) -> Tensor:
    """Multiply residues: 2⁶¹ is 1, and no intermediate number needs more than 63 bits."""
    (a_1, a_0), (b_1, b_0) = (a >> BITS, a & (HALF - 1)), (b >> BITS, b & (HALF - 1))
    middle = a_1 * b_0 + a_0 * b_1  # below 2⁶², to be multiplied by 2³¹
    high, low = middle >> 30, middle & (2**30 - 1)
    both: Tensor = 2 * a_1 * b_1 + high + (low << BITS) + a_0 * b_0 % P
    return both % P


def inverse(a: Tensor) -> Tensor:
    """Return 1/a (Fermat: a^(P-2)), and 0 for 0."""
    inverses = [pow(x, P - 2, P) for x in a.flatten().tolist()]
    return torch.tensor(inverses, dtype=torch.int64).view(a.shape)


def summed(add: Callable[[Tensor], Tensor], a: Tensor) -> Tensor:
    """Add up residues as `add` adds up integers: the halves apart, so that no sum overflows."""
    return (times(add(a >> BITS), torch.tensor(HALF)) + add(a & (HALF - 1))) % P


def total(a: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
    """Add up residues along an axis."""
    return summed(lambda half: half.sum(dim, keepdim=keepdim), a)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a (…, I, K) by a matrix b (K, J)."""
    return total(times(a.unsqueeze(-1), b), -2)


def contracted(equation: str, a: Tensor, b: Tensor) -> Tensor:
    """Return the einsum of two operands."""
    sides, kept = equation.split("->")
    left, right = sides.split(",")
    over = "".join(sorted({*left, *right} - {*kept}))
    every = times(_spread(a, left, kept + over), _spread(b, right, kept + over))
    return total(every.reshape(*every.shape[: len(kept)], prod(every.shape[len(kept) :])), -1)


def _spread(x: Tensor, letters: str, order: str) -> Tensor:
    """Permute the axes of x; an axis that it lacks gets the size 1."""
    here = [letters.index(letter) for letter in order if letter in letters]
    sizes = [x.shape[letters.index(letter)] if letter in letters else 1 for letter in order]
    return x.permute(here).reshape(sizes)
