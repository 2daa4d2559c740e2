"""The integers modulo a prime as tensors, which the ops take for torch's own.

Here + - × @ are exact, so two formulas agree or they do not. The functions that a field lacks
become random ones: σ(a) is a hash of a, as good as drawn anew, and only its derivative is
that of σ, s(1 - s) where s is its value. What holds for such functions holds for every function
of that derivative; `rules.py` has sympy prove the derivatives.

With a value go its derivatives in N directions at once, found beside it from the input onwards
(forward mode; over time: real-time recurrent learning, Williams and Zipser 1989).
"""

from collections.abc import Callable
from fractions import Fraction
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from carousel.verify.rules import SLOPES

P = 2**61 - 1  # a Mersenne prime: int64 holds the sum of four residues
HALF = 2**31  # a residue is high · HALF + low


class Field(Tensor):
    """Residues modulo P, in int64; `tangent` (N, *shape): how they change in N directions.

    No tangent: a constant. An operation that is not listed below is refused.
    """

    tangent: Tensor | None

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what func does, in the field."""
        name = (func.__self__ if func.__name__ == "__get__" else func).__name__.strip("_")
        if name in PLAIN:
            return func(plain(args[0]), *args[1:], **kwargs or {})
        if name in MOVES:
            return _moved(func, *args, **kwargs or {})
        if name in FREE:
            return _made(_free(name, _dual(*args)))
        if name not in ARITHMETIC:
            raise TypeError(f"the field has no {name}")
        operands = [_dual(a) for a in args] if name in BINARY else [_dual(args[0]), *args[1:]]
        return _made(ARITHMETIC[name](*operands, **kwargs or {}))


class Dual(NamedTuple):
    """A value and its derivatives, as plain tensors of int64."""

    value: Tensor
    tangent: Tensor | None


def field(value: Tensor, tangent: Tensor | None = None) -> Field:
    """Return residues as the ops take them."""
    return _made(Dual(value, tangent))


def plain(x: Tensor) -> Tensor:
    """Return the residues alone, as torch's integers."""
    with torch._C.DisableTorchFunctionSubclass():
        return x.as_subclass(Tensor)


def tangent(x: Tensor) -> Tensor:
    """Return how x changes in each direction, (N, *shape)."""
    assert isinstance(x, Field)
    assert x.tangent is not None
    return x.tangent


def draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw residues, each as likely as any other."""
    return torch.randint(P, shape, generator=generator)


def times(a: Tensor, b: Tensor) -> Tensor:
    """Multiply residues: 2⁶¹ is 1, and no intermediate number needs more than 63 bits."""
    (a_1, a_0), (b_1, b_0) = (a // HALF, a % HALF), (b // HALF, b % HALF)
    middle = a_1 * b_0 + a_0 * b_1  # below 2⁶², to be multiplied by 2³¹
    high, low = middle // 2**30, middle % 2**30
    return (2 * a_1 * b_1 + high + low * HALF + a_0 * b_0 % P) % P


def total(a: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
    """Add up residues along an axis."""
    high = (a // HALF).sum(dim, keepdim=keepdim)
    return (times(high, torch.tensor(HALF)) + (a % HALF).sum(dim, keepdim=keepdim)) % P


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a (…, I, K) by a matrix b (K, J)."""
    return total(times(a.unsqueeze(-1), b), -2)


def residue(number: float) -> int:
    """Return a decimal fraction as an element of the field: 1e-5 is the inverse of 100000."""
    fraction = Fraction(str(number))
    return fraction.numerator * pow(fraction.denominator, -1, P) % P


def _dual(x: Tensor | float) -> Dual:
    if isinstance(x, Field):
        return Dual(plain(x), x.tangent)
    return Dual(x if isinstance(x, Tensor) else torch.tensor(residue(x)), None)


def _made(dual: Dual) -> Field:
    x = dual.value.as_subclass(Field)
    x.tangent = dual.tangent
    return x


def _tangent(rule: Callable[..., Any], *operands: Dual) -> Any:
    """Apply a rule, linear in the operands' tangents, in each direction."""
    known = [x.tangent for x in operands if x.tangent is not None]
    if not known:
        return None
    tangents = [
        x.value.new_zeros(len(known[0]), *x.value.shape) if x.tangent is None else x.tangent
        for x in operands
    ]
    return torch.vmap(rule)(*tangents)


def _moved(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Move entries: a tangent's go where the value's go."""
    if isinstance(x, (list, tuple)):  # cat, stack
        parts = [_dual(part) for part in x]
        value = func([part.value for part in parts], *args, **kwargs)
        tangent = _tangent(lambda *tangents: func(list(tangents), *args, **kwargs), *parts)
        return _made(Dual(value, tangent))
    whole = _dual(x)
    value = func(whole.value, *args, **kwargs)
    tangent = _tangent(lambda d: func(d, *args, **kwargs), whole)
    if isinstance(value, Tensor):
        return _made(Dual(value, tangent))
    tangents = [None] * len(value) if tangent is None else tangent
    return tuple(_made(Dual(*pair)) for pair in zip(value, tangents, strict=True))


def _free(name: str, a: Dual) -> Dual:
    """Return a random function's value at a; its derivative is the rule's, in terms of it."""
    drawn = [
        int.from_bytes(blake2b(f"{name} {x}".encode(), digest_size=16).digest()) % P
        for x in a.value.flatten().tolist()
    ]
    s = torch.tensor(drawn).view(a.value.shape)
    if name == "relu":  # what is free is the slope, 0 or 1
        slope = s % 2
        return Dual(slope * a.value, _tangent(lambda da: slope * da, a))
    slope = plain(SLOPES[name](field(s)))
    return Dual(s, _tangent(lambda da: times(slope, da), a))


def _add(a: Dual, b: Dual) -> Dual:
    return Dual((a.value + b.value) % P, _tangent(lambda da, db: (da + db) % P, a, b))


def _sub(a: Dual, b: Dual) -> Dual:
    return Dual((a.value - b.value) % P, _tangent(lambda da, db: (da - db) % P, a, b))


def _mul(a: Dual, b: Dual) -> Dual:
    def rule(da: Tensor, db: Tensor) -> Tensor:
        return (times(da, b.value) + times(a.value, db)) % P

    return Dual(times(a.value, b.value), _tangent(rule, a, b))


def _matmul(a: Dual, b: Dual) -> Dual:
    def rule(da: Tensor, db: Tensor) -> Tensor:
        return (product(da, b.value) + product(a.value, db)) % P

    return Dual(product(a.value, b.value), _tangent(rule, a, b))


def _sum(a: Dual, dim: int, *, keepdim: bool = False) -> Dual:
    def rule(da: Tensor) -> Tensor:
        return total(da, dim, keepdim=keepdim)

    return Dual(rule(a.value), _tangent(rule, a))


def _mean(a: Dual, dim: int, *, keepdim: bool = False) -> Dual:
    share = torch.tensor(pow(a.value.shape[dim], -1, P))
    return _mul(_sum(a, dim, keepdim=keepdim), Dual(share, None))


PLAIN = {"shape", "dtype", "gt"}  # h > 0 asks whether the ReLU let it pass: whether it is not 0
FREE = {"relu", *SLOPES}
MOVES = {"T", "cat", "chunk", "flatten", "getitem", "stack", "unbind"}
BINARY = {"add", "radd", "sub", "rsub", "mul", "rmul", "matmul"}
ARITHMETIC: dict[str, Callable[..., Dual]] = {
    "add": _add,
    "radd": _add,
    "sub": _sub,
    "rsub": lambda a, b: _sub(b, a),
    "mul": _mul,
    "rmul": _mul,
    "matmul": _matmul,
    "sum": _sum,
    "mean": _mean,
}
