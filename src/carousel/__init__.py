"""Carousel: character-level language models from first principles.

`carousel.RNN`, `GRU`, `LSTM`, their cells and `MultiheadAttention` are drop-ins for their namesakes
in `torch.nn`; `train` and `load` return a `TextModel`, which continues prompts and judges texts;
`training.run` is the same training as a stream of events (docs/python.md). The rooms below (`ops`,
`nn`, `models`, …) are mapped in ARCHITECTURE.md. Names are loaded when first used, so that
importing stays quick.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from carousel._version import __version__

if TYPE_CHECKING:
    from carousel import training
    from carousel.api import load, train
    from carousel.data.reading import Reading
    from carousel.errors import CarouselError, CarouselWarning
    from carousel.forecast_api import forecast
    from carousel.generation.config import SamplingConfig
    from carousel.kernels.dispatch import backend
    from carousel.models.config import ModelConfig
    from carousel.models.sequence import SequenceModel
    from carousel.nn.cells import GRUCell, LSTMCell, RNNCell
    from carousel.nn.gru import GRU
    from carousel.nn.lstm import LSTM
    from carousel.nn.multihead_attention import MultiheadAttention
    from carousel.nn.rnn import RNN
    from carousel.text_model import TextModel
    from carousel.training.config import DataConfig, RunConfig, TrainingConfig

_EXPORTS = {
    "CarouselError": "carousel.errors",
    "CarouselWarning": "carousel.errors",
    "DataConfig": "carousel.training.config",
    "GRU": "carousel.nn.gru",
    "GRUCell": "carousel.nn.cells",
    "LSTM": "carousel.nn.lstm",
    "LSTMCell": "carousel.nn.cells",
    "ModelConfig": "carousel.models.config",
    "MultiheadAttention": "carousel.nn.multihead_attention",
    "RNN": "carousel.nn.rnn",
    "RNNCell": "carousel.nn.cells",
    "Reading": "carousel.data.reading",
    "RunConfig": "carousel.training.config",
    "SamplingConfig": "carousel.generation.config",
    "SequenceModel": "carousel.models.sequence",
    "TextModel": "carousel.text_model",
    "TrainingConfig": "carousel.training.config",
    "backend": "carousel.kernels.dispatch",
    "forecast": "carousel.forecast_api",
    "load": "carousel.api",
    "train": "carousel.api",
}
# Names of before, where they stand, and what to use in their place.
_DEPRECATED = {
    "continue_text": ("carousel.generation.generate", "TextModel.generate or TextModel.stream"),
    "load_model": ("carousel.models.checkpoint", "carousel.load, which returns a TextModel"),
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CarouselError",
    "CarouselWarning",
    "DataConfig",
    "GRUCell",
    "LSTMCell",
    "ModelConfig",
    "MultiheadAttention",
    "RNNCell",
    "Reading",
    "RunConfig",
    "SamplingConfig",
    "SequenceModel",
    "TextModel",
    "TrainingConfig",
    "__version__",
    "backend",
    "forecast",
    "load",
    "train",
    "training",
]


def __dir__() -> list[str]:
    """Return what is exported, loaded or not."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name == "training":
        return import_module("carousel.training")
    if name in _DEPRECATED:
        module, successor = _DEPRECATED[name]
        message = f"carousel.{name} is deprecated and will be removed: use {successor}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(import_module(module), name)
    raise AttributeError(f"module 'carousel' has no attribute {name!r}")
