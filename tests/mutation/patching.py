"""Plant a fault: copy a module with a place changed, and all that stands above it."""

import importlib
import inspect
import sys
from types import ModuleType
from unittest.mock import patch

from anchors import Edit, edited

Copies = dict[str, ModuleType]


def planted(package: str, above_one_another: tuple[str, ...], module: str, *edits: Edit) -> Copies:
    """Return copies of a module and of all above it, which import each other, not the true ones.

    Args:
        package: Where the modules stand.
        above_one_another: Their names; one imports only what is named before it.
        module: Which of them is faulty.
        edits: What is changed in it.
    """
    copies: Copies = {}
    for name in above_one_another[above_one_another.index(module) :]:
        true = importlib.import_module(f"{package}.{name}")
        text = edited(inspect.getsource(true), edits if name == module else (), f"{name}.py")
        copy = ModuleType(true.__name__)
        with patch.dict(sys.modules, {other.__name__: other for other in copies.values()}):
            exec(compile(text, f"{name}.py", "exec"), vars(copy))
        modules = {k for k, v in vars(copy).items() if isinstance(v, ModuleType)}
        vars(copy).update({k: v for k, v in copies.items() if k in modules})
        copies[name] = copy
    return copies


def executed(name: str, text: str) -> ModuleType:
    """Return a module of carousel.ops as it is with this text."""
    module = ModuleType(f"carousel.ops.{name}")
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module
