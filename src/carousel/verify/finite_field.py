"""The integers modulo a prime as tensors, which the ops take for torch's own.

Here + - × / @ are exact, so two formulas agree or they do not. The functions that a field lacks
become random ones: σ(a) is a hash of a, as good as drawn anew, and only its derivative is
that of σ, s(1 - s) where s is its value. What holds for such functions holds for every function
of that derivative; `rules.py` has sympy prove the derivatives.

A field has no order either, and needs none: what softmax subtracts before e^s, the largest s, is
here 0, for it cancels whatever it is; what keeps a total off 0, where nothing is seen, does
nothing, for 0/0 is 0. The score of what is hidden is a residue set apart, -∞, and e^-∞ is 0.

With a value go its derivatives in N directions at once, found beside it from the input onwards
(forward mode; over time: real-time recurrent learning, Williams and Zipser 1989).
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from carousel.torch_internals import torch_function_disabled
from carousel.verify.modular_arithmetic import (
    P,
    contracted,
    inverse,
    product,
    residue,
    summed,
    times,
    total,
)
from carousel.verify.rules import SLOPES


class Field(Tensor):
    """Residues modulo P, in int64; `tangent` (N, *shape): how they change in N directions.

    No tangent: a constant. To an op its dtype is float64. An operation that is not listed below is
    refused.
    """

    tangent: Tensor | None

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute a torch function in the field."""
        name = (func.__self__ if func.__name__ == "__get__" else func).__name__.strip("_")
        kwargs = kwargs or {}
        if name == "dtype":
            return torch.float64
        if name in PLAIN:
            return func(plain(args[0]), *args[1:], **kwargs)
        if name in MOVES:
            return _moved(func, *args, **kwargs)
        if name == "setitem":
            return func(plain(args[0]), args[1], _constant(args[2]))
        if name in FREE:
            return _made(_free(name, _dual(*args)))
        if name in BINARY:
            return _made(BINARY[name](*map(_dual, args)))
        if name in UNARY:
            return _made(UNARY[name](_dual(args[0]), *args[1:], **kwargs))
        if name in OTHERS:
            return _made(OTHERS[name](*args, **kwargs))
        raise TypeError(f"the field has no {name}")


class Dual(NamedTuple):
    """A value and its derivatives, as plain tensors of int64."""

    value: Tensor
    tangent: Tensor | None


def field(value: Tensor, tangent: Tensor | None = None) -> Field:
    """Return residues as the ops take them."""
    return _made(Dual(value, tangent))


def plain(x: Tensor) -> Tensor:
    """Return the residues alone, as torch's integers."""
    with torch_function_disabled():
        return x.as_subclass(Tensor)


def tangent(x: Tensor) -> Tensor:
    """Return how x changes in each direction, (N, *shape)."""
    assert isinstance(x, Field)
    assert x.tangent is not None
    return x.tangent


def _dual(x: Tensor | float) -> Dual:
    if isinstance(x, Field):
        return Dual(plain(x), x.tangent)
    if isinstance(x, Tensor):  # made by an op, of ones and zeros
        return Dual(x.long() % P, None)
    return Dual(torch.tensor(residue(x)), None)


def _made(dual: Dual) -> Field:
    x = dual.value.as_subclass(Field)
    x.tangent = dual.tangent
    return x


def _constant(x: Tensor | float) -> Tensor:
    """Return the value of what must not move: only backward passes add up in place."""
    value, tangent = _dual(x)
    if tangent is not None:
        raise TypeError("the field adds up constants only in place")
    return value


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
    """Return a random function's value at a; its derivative is what the rule says."""
    s = torch.tensor([_drawn(name, x) for x in a.value.flatten().tolist()]).view(a.value.shape)
    if name == "relu":  # what is free is the slope, 0 or 1
        slope = s % 2
        return Dual(slope * a.value, _tangent(lambda da: slope * da, a))
    slope = plain(SLOPES[name](field(a.value), field(s)))
    return Dual(s, _tangent(lambda da: times(slope, da), a))


def _drawn(name: str, x: int) -> int:
    return 0 if (name, x) == ("exp", MINUS_INFINITY) else _hashed(f"{name} {x}")


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest()) % P


MINUS_INFINITY = _hashed("-∞")


def _add(a: Dual, b: Dual) -> Dual:
    return Dual((a.value + b.value) % P, _tangent(lambda da, db: (da + db) % P, a, b))


def _sub(a: Dual, b: Dual) -> Dual:
    return Dual((a.value - b.value) % P, _tangent(lambda da, db: (da - db) % P, a, b))


def _mul(a: Dual, b: Dual) -> Dual:
    def rule(da: Tensor, db: Tensor) -> Tensor:
        return (times(da, b.value) + times(a.value, db)) % P

    return Dual(times(a.value, b.value), _tangent(rule, a, b))


def _inverse(a: Dual) -> Dual:
    r = inverse(a.value)
    return Dual(r, _tangent(lambda da: times(P - times(r, r), da), a))


def _matmul(a: Dual, b: Dual) -> Dual:
    def rule(da: Tensor, db: Tensor) -> Tensor:
        return (product(da, b.value) + product(a.value, db)) % P

    return Dual(product(a.value, b.value), _tangent(rule, a, b))


def _einsum(equation: str, *operands: Tensor) -> Dual:
    a, b = map(_dual, operands)

    def rule(da: Tensor, db: Tensor) -> Tensor:
        return (contracted(equation, da, b.value) + contracted(equation, a.value, db)) % P

    return Dual(contracted(equation, a.value, b.value), _tangent(rule, a, b))


def _sum(a: Dual, dim: int, *, keepdim: bool = False) -> Dual:
    def rule(da: Tensor) -> Tensor:
        return total(da, dim, keepdim=keepdim)

    return Dual(rule(a.value), _tangent(rule, a))


def _mean(a: Dual, dim: int, *, keepdim: bool = False) -> Dual:
    share = torch.tensor(pow(a.value.shape[dim], -1, P))
    return _mul(_sum(a, dim, keepdim=keepdim), Dual(share, None))


def _largest(a: Dual, dim: int, *, keepdim: bool = False) -> Dual:
    return Dual(torch.zeros_like(a.value.sum(dim, keepdim=keepdim)), None)


def _masked_fill(a: Dual, mask: Tensor, value: float) -> Dual:
    if value != float("-inf"):
        raise TypeError(f"the field hides scores: fill in -inf, not {value}")
    hidden = torch.where(mask, MINUS_INFINITY, a.value)
    return Dual(hidden, _tangent(lambda da: torch.where(mask, 0, da), a))


def _index_put(x: Tensor, places: Any, values: Tensor, *, accumulate: Literal[True]) -> Dual:
    def add(part: Tensor) -> Tensor:
        return torch.zeros_like(_constant(x)).index_put(places, part, accumulate=accumulate)

    return Dual((_constant(x) + summed(add, _constant(values))) % P, None)


def _index_add(x: Tensor, dim: int, places: Tensor, values: Tensor) -> Dual:
    def add(part: Tensor) -> Tensor:
        return torch.zeros_like(_constant(x)).index_add(dim, places, part)

    return Dual((_constant(x) + summed(add, _constant(values))) % P, None)


def _scatter_add(x: Tensor, dim: int, places: Tensor, values: Tensor) -> Dual:
    def add(part: Tensor) -> Tensor:
        return torch.zeros_like(_constant(x)).scatter_add(dim, places, part)

    return Dual((_constant(x) + summed(add, _constant(values))) % P, None)


PLAIN = {"shape", "device", "gt"}  # h > 0 asks if the ReLU let it pass: whether it is not 0
FREE = {"relu", *SLOPES}
MOVES = {
    *("T", "cat", "chunk", "flatten", "gather", "getitem", "squeeze", "stack", "unbind"),
    "unsqueeze",
}
BINARY: dict[str, Callable[[Dual, Dual], Dual]] = {
    "add": _add,
    "iadd": _add,
    "radd": _add,
    "sub": _sub,
    "rsub": lambda a, b: _sub(b, a),
    "mul": _mul,
    "rmul": _mul,
    "div": lambda a, b: _mul(a, _inverse(b)),
    "rdiv": lambda a, b: _mul(_inverse(a), b),
    "matmul": _matmul,
}
UNARY: dict[str, Callable[..., Dual]] = {
    "neg": lambda a: _sub(_dual(0), a),
    "sum": _sum,
    "mean": _mean,
    "amax": _largest,
    "clamp": lambda a, *, min: a,
    "masked_fill": _masked_fill,
    "new_zeros": lambda a, *shape: Dual(a.value.new_zeros(*shape), None),
    "zeros_like": lambda a: Dual(torch.zeros_like(a.value), None),
}
OTHERS: dict[str, Callable[..., Dual]] = {
    "einsum": _einsum,
    "index_add": _index_add,
    "index_put": _index_put,
    "scatter_add": _scatter_add,
}
