"""The OpSpec: all that a check needs to know of an op, and random cases of it.

`carousel verify`, the tests of the ops and the mutation tests read the same specs. A shape is
written in letters; the module that defines a spec says what its letters mean.
"""

import importlib
import math
import pkgutil
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

import carousel.ops

Tensors = dict[str, Tensor]
Sizes = dict[str, int]  # by letter
Letters = Mapping[str, str]  # name → shape
NOTHING: Letters = {}

Ops = dict[str, ModuleType]  # by name
_FIRST = ("softmax", "cross_entropy", "layer_norm", "embedding", "mlp", "recurrence")
_LAST = ("positions", "attention", "flash_attention")
_RECURRENT = sorted(  # what is not named here is a recurrent family
    {module.name for module in pkgutil.iter_modules(carousel.ops.__path__)}
    - {*_FIRST, *_LAST, "sampling"}
)
MODULES = (*_FIRST, *_RECURRENT, *_LAST)  # of carousel.ops, each after those that it imports
OPS: Ops = {name: importlib.import_module(f"carousel.ops.{name}") for name in MODULES}


class Index(NamedTuple):
    """A tensor of integers: its shape, the least of them, and the letter whose size ends them."""

    shape: str
    least: int
    end: str


class Hidden(NamedTuple):
    """A mask that is True at one entry in five, but never at the last two of the last axis."""

    shape: str


def nowhere(case: "Case") -> float:
    """Return how near a case is to a kink, where there is none."""
    return math.inf


class Case(NamedTuple):
    """A spec with all that its op takes; gradients flow to the inputs, not to the constants.

    `ops` are the modules that run; a test puts one with a fault in it in the true one's place.
    """

    spec: "OpSpec"
    sizes: Sizes
    inputs: Tensors
    constants: Tensors
    ops: Ops = OPS


@dataclass(frozen=True, kw_only=True)
class OpSpec:
    """One op in one variant: what it takes, its forward and backward pass, its namesake in torch.

    Attributes:
        name: Of its row in the table.
        module: Of carousel.ops, where it is implemented; none for a layer.
        sizes: Draws the size of each letter; they all differ, for a swapped axis must not pass
            unseen.
        data: The inputs that belong to one batch, states among them; they have gradients.
        weights: The inputs that all of a batch shares; those that are named b_… are optional.
        forward: Returns the outputs of a case, and what the backward pass needs.
        backward: Takes the case, the gradients of the outputs and what forward kept; returns the
            gradients of data and weights.
        constants: What has no gradient: a shape of numbers from 0 to 1, integers, or a mask.
        kink: Returns how near a case is to where it has no derivative.
        reference: Returns the outputs of a case, or some of them, as torch computes them; None
            where torch has no such op.
    """

    name: str
    module: str = ""
    sizes: Callable[[random.Random], Sizes]
    data: Letters
    weights: Letters
    forward: Callable[[Case], tuple[Tensors, Any]]
    backward: Callable[[Case, Tensors, Any], Tensors]
    constants: Mapping[str, str | Index | Hidden] = field(default_factory=dict)
    kink: Callable[[Case], float] = nowhere
    reference: Callable[[Case], Tensors] | None = None

    @property
    def differentiable(self) -> Letters:
        """The inputs, all of which have a gradient."""
        return {**self.data, **self.weights}


def draw_case(
    spec: OpSpec, seed: int, sizes: Sizes | None = None, *, has_optional: bool | None = None
) -> Case:
    """Draw every tensor: nothing is zero, since a bias left at zero hides a missing bias.

    Weights are drawn so that gates are neither open nor shut: there, every error has its effect.
    Constants are drawn between 0 and 1: what is linear in a mask, as all of it is, holds at both
    ends.

    Args:
        spec: The op.
        seed: Of all that is drawn.
        sizes: In place of random ones.
        has_optional: Whether optional inputs are there; by default two times in three.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = spec.sizes(random.Random(seed)) if sizes is None else sizes
    has_optional = seed % 3 > 0 if has_optional is None else has_optional
    inputs = {
        name: (1.0 if name in spec.data else 0.5) * _normal(shape, generator)
        for name, shape in input_shapes(spec, sizes, has_optional=has_optional).items()
    }
    return Case(spec, sizes, inputs, draw_constants(spec, sizes, generator))


def input_shapes(spec: OpSpec, sizes: Sizes, *, has_optional: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input."""
    whole = shapes(spec.differentiable, sizes)
    return {name: s for name, s in whole.items() if has_optional or not name.startswith("b_")}


def shapes(letters: Letters, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the sizes that letters stand for."""
    return {name: _shape(axes, sizes) for name, axes in letters.items()}


def draw_constants(spec: OpSpec, sizes: Sizes, generator: torch.Generator) -> Tensors:
    """Draw what has no gradient."""
    return {name: _constant(kind, sizes, generator) for name, kind in spec.constants.items()}


def _constant(kind: str | Index | Hidden, sizes: Sizes, generator: torch.Generator) -> Tensor:
    if isinstance(kind, Index):
        shape = _shape(kind.shape, sizes)
        return torch.randint(kind.least, sizes[kind.end], shape, generator=generator)
    if isinstance(kind, Hidden):
        hidden = torch.rand(_shape(kind.shape, sizes), generator=generator) < 0.2
        hidden[..., -2:] = False
        return hidden
    return torch.rand(_shape(kind, sizes), generator=generator, dtype=torch.float64)


def draw_cotangents(outputs: Tensors, seed: int) -> Tensors:
    """Return a random weight for each entry of each output: the loss is the weighted sum."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
        for name, output in outputs.items()
    }


def forward(case: Case) -> tuple[Tensors, Any]:
    """Return the outputs by name, and what the backward pass needs."""
    return case.spec.forward(case)


def backward(case: Case, cotangents: Tensors, trace: Any) -> Tensors:
    """Return the gradient of the weighted sum, by the names of the inputs."""
    gradients = case.spec.backward(case, cotangents, trace)
    return {name: gradients[name] for name in case.inputs}


def as_gradients(gradients: Tensors) -> Tensors:
    """Return gradients by names that tell them from what they are gradients of."""
    return {f"d{name}": d for name, d in gradients.items()}


def _shape(axes: str, sizes: Sizes) -> tuple[int, ...]:
    return tuple(sizes[letter] for letter in axes)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
