"""Carousel: character-level language models from first principles.

`carousel.RNN`, `GRU`, `LSTM`, their cells and `MultiheadAttention` are drop-ins for their namesakes
in `torch.nn`; the rooms below (`ops`, `layers`, `models`, …) are mapped in ARCHITECTURE.md. Names
are loaded when first used, so that importing stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from carousel._version import __version__

if TYPE_CHECKING:
    from carousel.kernels.implementation import backend
    from carousel.layers.cells import GRUCell, LSTMCell, RNNCell
    from carousel.layers.gru import GRU
    from carousel.layers.lstm import LSTM
    from carousel.layers.multihead_attention import MultiheadAttention
    from carousel.layers.rnn import RNN

_EXPORTS = {
    "GRU": "carousel.layers.gru",
    "GRUCell": "carousel.layers.cells",
    "LSTM": "carousel.layers.lstm",
    "LSTMCell": "carousel.layers.cells",
    "MultiheadAttention": "carousel.layers.multihead_attention",
    "RNN": "carousel.layers.rnn",
    "RNNCell": "carousel.layers.cells",
    "backend": "carousel.kernels.implementation",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "MultiheadAttention",
    "RNNCell",
    "__version__",
    "backend",
]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'carousel' has no attribute {name!r}")
