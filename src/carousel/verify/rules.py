"""The derivatives that algebra cannot find, in terms of the function's value; proven by sympy.

These three are all that the exact check takes from analysis.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

SLOPES: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda s: s * (1 - s),
    "tanh": lambda t: 1 - t * t,
    "rsqrt": lambda r: -0.5 * r * r * r,
}


@cache
def unproven() -> list[str]:
    """Return the functions whose derivative is not what its rule says."""
    import sympy

    a = sympy.Symbol("a", positive=True)
    functions = {
        "sigmoid": 1 / (1 + sympy.exp(-a)),
        "tanh": sympy.tanh(a),
        "rsqrt": 1 / sympy.sqrt(a),
    }
    return [
        name
        for name, rule in SLOPES.items()
        if sympy.simplify(functions[name].diff(a) - sympy.nsimplify(rule(functions[name]))) != 0
    ]
