"""Names of torch's that it does not promise to keep, and the versions of torch that have them.

Importing this module, as `carousel.ops` does, checks that torch is not too old. Undocumented names
are used here alone: a torch without one of them stops only what needs it, with one line. The C++
kernels use torch's headers; where they do not compile, the layers run without them
(kernels/build.py). `make test-versions` runs the tests on the oldest, the pinned and the newest
torch.
"""

import re
from contextlib import AbstractContextManager
from typing import Any

import torch

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
    """Tell whether torch.func (grad, vmap, jvp, …) is at work.

    torch itself asks this before it calls an autograd.Function; there is no public name.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        is_active = torch._C._are_functorch_transforms_active
    except AttributeError:
        raise _missing("torch._C._are_functorch_transforms_active") from None
    return bool(is_active())


def cpu_features() -> dict[str, Any]:
    """Return what the processor has, such as {"avx512_bf16": True}.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        features = torch.cpu.get_capabilities
    except AttributeError:
        raise _missing("torch.cpu.get_capabilities") from None
    return dict(features())


def torch_function_disabled() -> AbstractContextManager[None]:
    """Return a block in which a subclass of Tensor is handled as a plain tensor.

    Raises:
        TorchVersionError: If this torch has no such name.
    """
    try:
        disabled = torch._C.DisableTorchFunctionSubclass
    except AttributeError:
        raise _missing("torch._C.DisableTorchFunctionSubclass") from None
    return disabled()


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
