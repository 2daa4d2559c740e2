"""The registry of model families, the one list of them. Imports no torch.

Each file here is one family: its settings, how its backbone is built, and its defaults in training.
Flags, checkpoints, training, sampling and the server read this registry.
"""

from importlib import import_module

from carousel.models.config import CONFIGS
from carousel.models.families.family import Family

NAMES = (
    "rnn",
    "gru",
    "mingru",
    "lstm",
    "mlp",
    "transformer",
)
FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Add a family to the registry."""
    FAMILIES[family.name] = family
    CONFIGS[family.name] = family.config


for _name in NAMES:
    register(import_module(f"{__name__}.{_name}").FAMILY)
