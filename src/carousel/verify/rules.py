"""The derivatives that algebra cannot find, of a function s of a; proven by sympy.

These five are all that the exact check takes from analysis.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "sigmoid": lambda a, s: s * (1 - s),
    "tanh": lambda a, s: 1 - s * s,
    "rsqrt": lambda a, s: -0.5 * s * s * s,
    "exp": lambda a, s: s,
    "log": lambda a, s: 1 / a,
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
        "exp": sympy.exp(a),
        "log": sympy.log(a),
    }
    return [
        name
        for name, rule in SLOPES.items()
        if sympy.simplify(functions[name].diff(a) - sympy.nsimplify(rule(a, functions[name]))) != 0
    ]
