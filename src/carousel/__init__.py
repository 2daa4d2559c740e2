"""Carousel: character-level language models from first principles.

`carousel.LSTM` is a drop-in for `torch.nn.LSTM`; the rooms below (`ops`, `layers`, `models`, …)
are mapped in ARCHITECTURE.md. Names are loaded when first used, so that importing stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from carousel._version import __version__

if TYPE_CHECKING:
    from carousel.layers.lstm import LSTM

_EXPORTS = {"LSTM": "carousel.layers.lstm"}

__all__ = ["LSTM", "__version__"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'carousel' has no attribute {name!r}")
