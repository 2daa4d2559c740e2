"""The operators of cpu/, under torch's name for them."""

from typing import Any

import torch


def operators() -> Any:
    """Return the namespace of the C++ operators; empty until `fused` has loaded the library."""
    return torch.ops.carousel
