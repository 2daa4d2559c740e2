"""How near two tensors must be: a bound on ‖got − want‖ / ‖want‖, the tensor named where it fails.

Entry by entry a bound has no meaning where an entry is near zero by cancellation; over the whole
tensor it says how many digits agree.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

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
