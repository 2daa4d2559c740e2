"""Detect torch's transforms around a layer, which rule some backends out.

A hand-derived gradient and a kernel serve the backward pass alone. torch.func, forward-mode
derivatives and tracers need torch's operations themselves: the implementation `autograd`.
"""

from torch import Tensor
from torch.autograd import forward_ad

from carousel.torch_internals import (
    is_dual_level_open,
    is_exporting,
    is_functorch_active,
    is_tracing,
)


def active_transform(*tensors: Tensor | None) -> str | None:
    """Name the tool that needs torch's operations themselves; None if none is at work.

    Args:
        tensors: All that a layer is about to compute with: inputs, states, weights, masks.
    """
    if is_functorch_active():
        return "torch.func"
    if is_tracing():
        return "torch.jit.trace"
    return "forward-mode derivatives" if _have_tangent(*tensors) else None


def has_symbolic_sizes() -> bool:
    """Return whether sizes stand for any size: a branch on one would hold for the example alone."""
    return is_exporting() or is_tracing()


def _have_tangent(*tensors: Tensor | None) -> bool:
    """Return whether a tensor carries a forward-mode tangent; no_grad does not remove it."""
    if not is_dual_level_open():  # nearly always
        return False
    duals = (forward_ad.unpack_dual(t) for t in tensors if t is not None)  # type: ignore[no-untyped-call]
    return any(dual.tangent is not None for dual in duals)
