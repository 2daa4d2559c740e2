"""How the tests ask for a refusal: the kind of error itself, and the whole message."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

SIZES = {"input_size": 4, "hidden_size": 6}
PAIRED = ("LSTM", "LSTMCell")


def zeros(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


def states(name: str, h: Tensor) -> Any:
    """What a layer or cell takes as its state, of such parts: (h, c), or h alone."""
    return (h, h) if name in PAIRED else h


def refused(call: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught:
        call()
    assert caught.type is kind
