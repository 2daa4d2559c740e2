"""Carousel: character-level language models from first principles.

`carousel.RNN`, `GRU`, `LSTM`, their cells and `MultiheadAttention` are drop-ins for their namesakes
in `torch.nn`; `load_model` and `continue_text` let a trained model write; the rooms below (`ops`,
`layers`, `models`, …) are mapped in ARCHITECTURE.md. Names are loaded when first used, so that
importing stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from carousel._version import __version__

if TYPE_CHECKING:
    from carousel.generation.config import SamplingConfig
    from carousel.generation.generate import continue_text
    from carousel.kernels.dispatch import backend
    from carousel.models.checkpoint import load_model
    from carousel.models.config import ModelConfig
    from carousel.models.sequence import SequenceModel
    from carousel.nn.cells import GRUCell, LSTMCell, RNNCell
    from carousel.nn.gru import GRU
    from carousel.nn.lstm import LSTM
    from carousel.nn.multihead_attention import MultiheadAttention
    from carousel.nn.rnn import RNN

_EXPORTS = {
    "GRU": "carousel.nn.gru",
    "GRUCell": "carousel.nn.cells",
    "LSTM": "carousel.nn.lstm",
    "LSTMCell": "carousel.nn.cells",
    "ModelConfig": "carousel.models.config",
    "MultiheadAttention": "carousel.nn.multihead_attention",
    "RNN": "carousel.nn.rnn",
    "RNNCell": "carousel.nn.cells",
    "SamplingConfig": "carousel.generation.config",
    "SequenceModel": "carousel.models.sequence",
    "backend": "carousel.kernels.dispatch",
    "continue_text": "carousel.generation.generate",
    "load_model": "carousel.models.checkpoint",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "ModelConfig",
    "MultiheadAttention",
    "RNNCell",
    "SamplingConfig",
    "SequenceModel",
    "__version__",
    "backend",
    "continue_text",
    "load_model",
]


def __dir__() -> list[str]:
    """Return what is exported, loaded or not."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'carousel' has no attribute {name!r}")
