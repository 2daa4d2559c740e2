"""How near two tensors must be: a bound on ‖got − want‖ / ‖want‖, the tensor named where it fails.

Entry by entry a bound has no meaning where an entry is near zero by cancellation; over the whole
tensor it says how many digits agree.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

ROUNDINGS = 8  # times what one rounding of every input does; 3 times was met in 2,000 cases
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


def assert_near(
    got: Mapping[str, Tensor], want: Mapping[str, Tensor], tolerance: float | None = None
) -> None:
    """Compare tensors of the same names; by default as near as their precision lets hope."""
    assert got.keys() == want.keys()
    for name, expected in want.items():
        actual = got[name]
        assert actual.shape == expected.shape, f"{name}: {actual.shape} is not {expected.shape}"
        assert actual.dtype == expected.dtype, f"{name}: {actual.dtype} is not {expected.dtype}"
        error, scale = (actual - expected).norm().item(), expected.norm().item()
        bound = TOLERANCE[expected.dtype] if tolerance is None else tolerance
        assert error <= bound * scale, f"{name} differs by {error:.1e}, its norm is {scale:.1e}"


def assert_known(
    got: Mapping[str, Tensor], exact: Mapping[str, Tensor], other: Mapping[str, Tensor]
) -> None:
    """Compare with double precision, as near as the numbers are known.

    Where they cancel, as where a ReLU lets little through, they are known less well than the
    tolerance of their precision: `other` is what is exact where every input is off by a rounding.
    """
    assert got.keys() == exact.keys()
    for name, want in exact.items():
        assert got[name].shape == want.shape, f"{name}: {got[name].shape} is not {want.shape}"
        error, unknown = ((found[name] - want).norm().item() for found in (got, other))
        bound = max(ROUNDINGS * unknown, TOLERANCE[got[name].dtype] * want.norm().item())
        assert error <= bound, f"{name} is off by {error:.1e}, the bound is {bound:.1e}"
