"""Argument checks of the recurrent layers.

The kinds are torch.nn's: ValueError, RuntimeError or TypeError where torch raises it. Beyond
torch, nothing is broadcast in silence.
"""

import operator
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor
from torch.fx import Proxy

from carousel.nn.autograd import is_autocast_on
from carousel.ops.recurrence import State


def as_size(name: str, value: object) -> int:
    """Return a size as an int: any kind of integer is one, such as numpy's.

    Raises:
        TypeError: If it is no integer, or a bool.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"{name} must be of type int, got {kind_of(value)}")


def check_sizes(*, input_size: int, hidden_size: int, num_layers: int, proj_size: int) -> None:
    """Raise ValueError if a size is out of the range that a layer can have."""
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if not 0 <= proj_size < hidden_size:
        raise ValueError(
            f"proj_size must be in [0, hidden_size), 0 for no projection; got {proj_size} with "
            f"hidden_size {hidden_size}"
        )


def kind_of(value: object) -> str:
    """Return the name of a value's type, with advice where torch.fx put a proxy in its place."""
    if isinstance(value, Proxy):
        return "a Proxy: torch.fx keeps a layer whole; trace a model that holds it"
    return type(value).__name__


def check_is(name: str, value: object, kind: type) -> None:
    """Raise TypeError if a value is not of a kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, got {kind_of(value)}")


def check_probability(name: str, value: object) -> None:
    """Check a probability.

    Raises:
        TypeError: If it is None.
        ValueError: Of everything else that is no number in [0, 1].
    """
    if value is None:
        raise TypeError(f"{name} must be a probability in [0, 1], got None")
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= float(value) <= 1):
        raise ValueError(f"{name} must be a probability in [0, 1], got {value!r}")


def check_no_projection(layer: str, proj_size: object) -> None:
    """Raise ValueError if a layer that has no projection is asked for one."""
    if proj_size is not None:
        raise ValueError(f"proj_size is for LSTM only; {layer} has no projection")


def as_state(hx: object, names: tuple[str, ...]) -> State | None:
    """Return the initial state as a tuple of its parts; None stays None.

    Raises:
        TypeError: If it is no tensor, or for two parts no pair of tensors.
        RuntimeError: If it is of another number of tensors.
    """
    if hx is None:
        return None
    if len(names) == 1:
        if not isinstance(hx, Tensor):
            raise TypeError(f"hx must be a tensor, got {kind_of(hx)}")
        return (hx,)
    wanted = f"hx must be the pair ({', '.join(names)})"
    if not isinstance(hx, (tuple, list)):
        raise TypeError(f"{wanted}, got {kind_of(hx)}")
    if len(hx) != len(names):
        raise RuntimeError(f"{wanted}, got {len(hx)} of them")
    for part in hx:
        if not isinstance(part, Tensor):
            raise TypeError(f"{wanted}, got {kind_of(part)} in it")
    return tuple(hx)


def check_axes(layer: str, x: object, allowed: tuple[int, int]) -> None:
    """Refuse an input of another number of axes.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it is one of other axes.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{layer} expects a tensor as input, got {kind_of(x)}")
    if x.dim() not in allowed:
        few, many = allowed
        raise ValueError(f"{layer} expects input of {few} or {many} axes, got {x.dim()}")


def check_features(x: Tensor, input_size: int) -> None:
    """Raise RuntimeError if the last axis is not of the input's size."""
    if x.shape[-1] != input_size:
        raise RuntimeError(f"input has {x.shape[-1]} features, the layer expects {input_size}")


def check_shapes(state: State, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise RuntimeError if a part of the state has another shape: torch may broadcast it."""
    for part, (name, shape) in zip(state, expected.items(), strict=True):
        if tuple(part.shape) != shape:
            raise RuntimeError(
                f"{name} has shape {tuple(part.shape)}; this layer and input need {shape}"
            )


def check_fits(name: str, tensor: Tensor, weight: Tensor, kind: type[Exception]) -> None:
    """Check an input: its dtype, that it is no tensor of ids, and that it is a tensor.

    Autocast converts by itself, but from no more than single precision.

    Raises:
        Exception: Of the kind asked for if the type is not the weight's.
        RuntimeError: If the device is not the weight's.
    """
    if tensor.device != weight.device:
        raise RuntimeError(
            f"{name} is on {tensor.device}, the layer on {weight.device}; move one by .to()"
        )
    if tensor.dtype == weight.dtype:
        return
    if not is_autocast_on(tensor.device):
        raise kind(f"{name} is {tensor.dtype}, the layer {weight.dtype}; convert one by .to()")
    if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise RuntimeError(
            f"{name} is {tensor.dtype}, the layer {weight.dtype}; autocast converts neither"
        )
