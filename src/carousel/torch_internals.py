"""Names of torch's that it does not promise to keep, and the versions of torch that have them.

Importing this module, as `carousel.ops` does, checks that torch is not too old. Undocumented names
are used here alone: a torch without one of them stops only what needs it, with one line. The C++
kernels use torch's headers; where they do not compile, the layers run without them
(kernels/build.py). `make test-versions` runs the tests on the oldest, the pinned and the newest
torch.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from carousel.errors import CarouselError

OLDEST, NEWEST_TESTED = "2.11", "2.15"


class TorchVersionError(CarouselError, ImportError):
    """This torch is too old, or lacks a name; the message says which torch works."""


def require_supported(version: str) -> None:
    """Check that a version of torch, such as "2.13.0+cpu", is not too old.

    Raises:
        TorchVersionError: If it is older than OLDEST.
    """
    if _release(version) < _release(OLDEST):
        raise TorchVersionError(
            f"carousel needs torch {OLDEST} or newer, this is {_public(version)}; "
            "pip install -U torch"
        )


def untested_note(version: str) -> str:
    """Return an ending for a message about a failure: this torch is newer than those tested.

    Returns:
        "" unless it is newer.
    """
    if _release(version) <= _release(NEWEST_TESTED):
        return ""
    return f"; this is torch {_public(version)}, tested are {OLDEST} to {NEWEST_TESTED}"


def is_functorch_active() -> bool:
    """Return whether torch.func (grad, vmap, jvp, …) is at work.

    torch itself asks this before it calls an autograd.Function; there is no public name.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:  # not by _find: every call of a layer asks
        is_active = torch._C._are_functorch_transforms_active
    except AttributeError:
        raise _missing("torch._C._are_functorch_transforms_active") from None
    return bool(is_active())


def is_tracing() -> bool:
    """Return whether torch.jit.trace is at work.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        state = torch._C._get_tracing_state
    except AttributeError:
        raise _missing("torch._C._get_tracing_state") from None
    return state() is not None


def is_exporting() -> bool:
    """Return whether torch.export is at work.

    torch.compile of torch 2.11 takes the public torch.compiler.is_exporting() to be true always;
    of the flag behind it, it sees the value.
    """
    try:
        return torch.compiler._is_exporting_flag
    except AttributeError:
        return torch.compiler.is_exporting()


def is_dual_level_open() -> bool:
    """Return whether forward-mode derivatives are at work: a block of forward_ad.dual_level().

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        return int(forward_ad._current_level) >= 0
    except AttributeError:
        raise _missing("torch.autograd.forward_ad._current_level") from None


class BatchAxis(NamedTuple):
    """The axis of a tensor that vmap hides.

    Attributes:
        remove: Show the axis, as the first one of a plain tensor.
        add: Hide the first axis of a plain tensor.
    """

    remove: Callable[[Tensor], Tensor]
    add: Callable[[Tensor], Tensor]


def vmap_axis(tensor: Tensor | None) -> BatchAxis | None:
    """Return the innermost axis that vmap hides in a tensor; None if it hides none.

    torch.func.vmap has one kind of such tensors, vectorised Jacobians of torch.autograd another.

    Raises:
        TorchVersionError: If this torch lacks one of the names.
    """
    if tensor is None:
        return None
    if _find("torch._C._functorch.is_batchedtensor")(tensor):
        level = _find("torch._C._functorch.maybe_get_level")(tensor)
        remove = _find("torch._C._functorch._remove_batch_dim")
        add = _find("torch._C._functorch._add_batch_dim")
        return BatchAxis(lambda t: remove(t, level, 0, 0), lambda t: add(t, 0, level))
    if _find("torch._C._functorch.is_legacy_batchedtensor")(tensor):
        level = _find("torch._C._vmapmode_increment_nesting")() - 1
        _find("torch._C._vmapmode_decrement_nesting")()
        remove, add = _find("torch._remove_batch_dim"), _find("torch._add_batch_dim")
        return BatchAxis(lambda t: remove(t, level, 0, 0), lambda t: add(t, 0, level))
    return None


def cpu_features() -> dict[str, Any]:
    """Return what the processor has, such as {"avx512_bf16": True}.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    return dict(_find("torch.cpu.get_capabilities")())


def torch_function_disabled() -> AbstractContextManager[None]:
    """Return a block in which a subclass of Tensor is handled as a plain tensor.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    disabled: AbstractContextManager[None] = _find("torch._C.DisableTorchFunctionSubclass")()
    return disabled


def _find(name: str) -> Any:
    """Return what a dotted name below torch means.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        return reduce(getattr, name.split(".")[1:], torch)
    except AttributeError:
        raise _missing(name) from None


def _missing(name: str) -> TorchVersionError:
    """Return the error for a name that this torch does not have."""
    major, minor = _release(NEWEST_TESTED)
    return TorchVersionError(
        f"carousel uses {name}, which torch {_public(torch.__version__)} does not have; "
        f"torch {OLDEST} to {NEWEST_TESTED} have it: "
        f'pip install "torch>={OLDEST},<{major}.{minor + 1}"'
    )


def _release(version: str) -> tuple[int, int]:
    """Return (major, minor), which decide what names there are."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _public(version: str) -> str:
    """Return a version without its build, such as "+cpu"."""
    return version.partition("+")[0]


require_supported(torch.__version__)
