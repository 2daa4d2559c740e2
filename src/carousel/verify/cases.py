"""What is verified: subjects, each a function with its reverse, and random cases of them.

A shape is written in letters; the module that names a subject says what its letters mean.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Sizes = dict[str, int]  # by letter
Letters = Mapping[str, str]  # name → shape
NOTHING: Letters = {}


class Index(NamedTuple):
    """A tensor of integers: its shape, the least of them, and the letter whose size ends them."""

    shape: str
    least: int
    end: str


def nowhere(case: "Case") -> float:
    """Return how near a case is to a kink, where there is none."""
    return math.inf


class Case(NamedTuple):
    """A subject with all that it takes; gradients flow to the inputs, not to the constants."""

    subject: "Subject"
    sizes: Sizes
    inputs: Tensors
    constants: Tensors


class Subject(NamedTuple):
    """A function and its reverse, both by the names of their tensors.

    Attributes:
        name: Of its row in the table.
        sizes: Draws the size of each letter; they all differ, for a swapped axis must not pass
            unseen.
        data: What is of this batch: inputs and states.
        weights: What all of it shares; those that are named b_… may be left out.
        forward: Returns the outputs of a case, and what the reverse needs.
        backward: Takes the case, the gradients of the outputs and what forward kept; returns the
            gradients of data and weights.
        constants: What has no gradient, such as masks.
        indices: Integers; they have none either.
        kink: Returns how near a case is to where it has no derivative.
    """

    name: str
    sizes: Callable[[random.Random], Sizes]
    data: Letters
    weights: Letters
    forward: Callable[[Case], tuple[Tensors, Any]]
    backward: Callable[[Case, Tensors, Any], Tensors]
    constants: Letters = NOTHING
    indices: Mapping[str, Index] = {}
    kink: Callable[[Case], float] = nowhere


def draw_case(subject: Subject, seed: int) -> Case:
    """Draw every tensor: nothing is zero, since a bias left at zero hides a missing bias.

    Weights are drawn so that gates are neither open nor shut: there, every error has its effect.
    Constants are drawn between 0 and 1: what is linear in a mask, as all of it is, holds at both
    ends.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = subject.sizes(random.Random(seed))
    inputs = {
        name: (1.0 if name in subject.data else 0.5) * _normal(shape, generator)
        for name, shape in input_shapes(subject, sizes, seed).items()
    }
    constants = {
        name: torch.rand(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes(subject.constants, sizes).items()
    }
    return Case(subject, sizes, inputs, constants | draw_indices(subject, sizes, generator))


def input_shapes(subject: Subject, sizes: Sizes, seed: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of data and weights; without what may be left out, one time in three."""
    whole = shapes({**subject.data, **subject.weights}, sizes)
    return {name: s for name, s in whole.items() if seed % 3 > 0 or not name.startswith("b_")}


def shapes(letters: Letters, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the sizes that letters stand for."""
    return {name: tuple(sizes[letter] for letter in shape) for name, shape in letters.items()}


def draw_indices(subject: Subject, sizes: Sizes, generator: torch.Generator) -> Tensors:
    """Draw the integers, each as likely as any other."""
    return {
        name: torch.randint(
            index.least,
            sizes[index.end],
            tuple(sizes[letter] for letter in index.shape),
            generator=generator,
        )
        for name, index in subject.indices.items()
    }


def draw_cotangents(outputs: Tensors, seed: int) -> Tensors:
    """Return a random weight for each entry of each output: the loss is the weighted sum."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
        for name, output in outputs.items()
    }


def forward(case: Case) -> tuple[Tensors, Any]:
    """Return the outputs by name, and what the reverse needs."""
    return case.subject.forward(case)


def backward(case: Case, cotangents: Tensors, trace: Any) -> Tensors:
    """Return the gradient of the weighted sum, by the names of the inputs."""
    gradients = case.subject.backward(case, cotangents, trace)
    return {name: gradients[name] for name in case.inputs}


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
