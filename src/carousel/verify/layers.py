"""The recurrent layers, as users make them, and what is common to the checks of layers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from carousel.nn.recurrent_layer import RecurrentLayer
from carousel.verify.op_spec import Tensors


class Layer(NamedTuple):
    """A recurrent layer of carousel, with its options.

    Attributes:
        kind: Its class; torch's has the same name.
        options: Arguments beside its sizes.
        not_in_torch: Why torch.nn has no such layer; None where it has.
    """

    kind: type[RecurrentLayer]
    options: dict[str, Any]
    not_in_torch: str | None

    @property
    def has_cell(self) -> bool:
        """Whether its state has a second part."""
        return "c_0" in self.kind.state_names


def make(module: Any, layer: Layer, *sizes: int, dtype: torch.dtype, **options: Any) -> nn.Module:
    """Make a layer of carousel or of torch.nn."""
    kind = getattr(nn, layer.kind.__name__) if module is nn else layer.kind
    made: nn.Module = kind(*sizes, dtype=dtype, **layer.options, **options)
    return made


def randomise(layer: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter: nothing is zero, since a bias left at zero hides a missing bias.

    Not so large that a gate shuts: 1 - z has few digits then, in torch as here.
    """
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.3 * randn(parameter.shape, generator, parameter.dtype))


def randn(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw in double precision and round: the same numbers in every precision."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def named_state(state: Tensor | tuple[Tensor, ...], suffix: str) -> Tensors:
    """Return a layer's state by name: h_0 or h_n, and c likewise where there is one."""
    parts = (state,) if isinstance(state, Tensor) else state
    return {f"{name}_{suffix}": part for name, part in zip("hc", parts, strict=False)}


def with_gradients(outputs: Tensors, every: Tensors, generator: torch.Generator) -> Tensors:
    """Return the outputs, and every gradient of a random weighted sum of them."""
    weights = [randn(y.shape, generator, y.dtype) for y in outputs.values()]
    gradients = torch.autograd.grad(list(outputs.values()), list(every.values()), weights)
    return outputs | {f"d{name}": d for name, d in zip(every, gradients, strict=True)}
