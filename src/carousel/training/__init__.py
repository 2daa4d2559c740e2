"""Training: settings, one step, the run as a stream of events, exact resume.

`run` trains and yields events, `make_config` returns its settings. Names are loaded when first
used: configs need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carousel.training.fit import End, Saved, Validation
    from carousel.training.keyword_settings import make_config
    from carousel.training.prepared_run import Notice, Started
    from carousel.training.run_events import RunEvent, run
    from carousel.training.trainer import StepReport

_EXPORTS = {
    "End": "fit",
    "Notice": "prepared_run",
    "RunEvent": "run_events",
    "Saved": "fit",
    "Started": "prepared_run",
    "StepReport": "trainer",
    "Validation": "fit",
    "make_config": "keyword_settings",
    "run": "run_events",
}

__all__ = [
    "End",
    "Notice",
    "RunEvent",
    "Saved",
    "Started",
    "StepReport",
    "Validation",
    "make_config",
    "run",
]


def __dir__() -> list[str]:
    """Return what is exported, loaded or not."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(f"carousel.training.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'carousel.training' has no attribute {name!r}")
