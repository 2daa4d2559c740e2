"""An op beside recurrence as a case: what goes in, forward, the hand-derived reverse, and who
depends on whom.

A way to run takes the code that it examines: the true one, or one with a fault planted in it.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from op_given import Given, Tensors
from torch import Tensor

Code = dict[str, ModuleType]  # the modules of carousel.ops, by name
Pieces = list[tuple[int, int]]

MODULES = (
    "softmax",
    "cross_entropy",
    "layer_norm",
    "embedding",
    "mlp",
    "recurrence",
    "positions",
    "attention",
    "flash_attention",
)
OPS: Code = {name: importlib.import_module(f"carousel.ops.{name}") for name in MODULES}


class Sizes(NamedTuple):
    """All different, so that a swapped axis shows; C is the context. L = n - 1 + T, W = n D."""

    B: int
    N: int
    T: int
    S: int
    K: int
    M: int
    V: int
    D: int
    H: int
    n: int
    C: int
    block: int


SIZES = Sizes(B=2, N=3, T=5, S=7, K=6, M=4, V=9, D=8, H=10, n=3, C=3, block=2)
TINY = Sizes(B=2, N=2, T=3, S=4, K=4, M=1, V=3, D=4, H=2, n=2, C=2, block=1)


class Case(NamedTuple):
    """An op in one of its uses.

    Attributes:
        module: Where it stands.
        shapes: Of the tensors that have a gradient, in letters.
        forward: Code, tensors, what else is given → outputs, and what the reverse needs.
        backward: Code, gradients of the outputs, what the reverse needs, what else is given →
            gradients of the tensors.
        definition: The same outputs as the paper has them.
        namesake: The same outputs, or some of them, by torch.
        given: What has no gradient.
        depends: Of the first output: on which places of which tensors each of its places depends.
        pieces: The first output, or what else, piece by piece.
        far: Added to the tensors: a softmax must bear numbers whose exponential is infinite.
    """

    module: str
    shapes: Mapping[str, str]
    forward: Callable[[Code, Tensors, Given], tuple[Tensors, Any]]
    backward: Callable[[Code, Tensors, Any, Given], Tensors]
    definition: Callable[[Tensors, Given], Tensors]
    namesake: Callable[[Tensors, Given], Tensors] | None
    given: Callable[[Sizes], Given]
    depends: Callable[[Tensors, Given], Tensors]
    pieces: Callable[["Case", Code, Tensors, Given, Pieces], Tensors] | None = None
    far: float = 0.0


def random_inputs(case: Case, sizes: Sizes = SIZES) -> tuple[Tensors, Given]:
    letters = sizes._asdict() | {"L": sizes.n - 1 + sizes.T, "W": sizes.n * sizes.D}
    tensors = {}
    for name, axes in case.shapes.items():
        shape = [letters[letter] for letter in axes]
        tensors[name] = (normal(*shape, seed=len(tensors)) + case.far).requires_grad_()
    return tensors, case.given(sizes)


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def by_hand(code: Code, case: Case, p: Tensors, given: Given) -> Tensors:
    """Forward, with the hand-derived reverse: autograd sees one function."""
    names: list[str] = []
    outputs = HandDerived.apply(code, case, given, tuple(p), names, *p.values())
    return dict(zip(names, outputs, strict=True))


class HandDerived(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        code: Code,
        case: Case,
        given: Given,
        inputs: tuple[str, ...],
        names: list[str],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        outputs, trace = case.forward(code, dict(zip(inputs, tensors, strict=True)), given)
        names.extend(outputs)
        ctx.names, ctx.inputs = names, inputs
        ctx.reverse = lambda darriving: case.backward(code, darriving, trace, given)
        return tuple(outputs.values())

    @staticmethod
    def backward(ctx: Any, *darriving: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.reverse(dict(zip(ctx.names, darriving, strict=True)))
        return None, None, None, None, None, *(found[name] for name in ctx.inputs)
