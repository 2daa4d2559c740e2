"""Plant a fault: copy a module with a passage replaced, and all that stands above it."""

import importlib
import inspect
import re
import sys
from types import ModuleType
from unittest.mock import patch

Copies = dict[str, ModuleType]


def planted(
    package: str, above_one_another: tuple[str, ...], module: str, *passages: tuple[str, str]
) -> Copies:
    """Return copies of a module and of all above it, which import each other, not the true ones.

    Args:
        package: Where the modules stand.
        above_one_another: Their names; one imports only what is named before it.
        module: Which of them is faulty.
        passages: What stands there, once, and what stands there instead; comments aside.
    """
    copies: Copies = {}
    for name in above_one_another[above_one_another.index(module) :]:
        true = importlib.import_module(f"{package}.{name}")
        text = bare(inspect.getsource(true))
        for was, becomes in passages if name == module else ():
            assert text.count(bare(was)) == 1, f"this must stand once in {name}.py: {was}"
            text = text.replace(bare(was), becomes)
        copy = ModuleType(true.__name__)
        with patch.dict(sys.modules, {other.__name__: other for other in copies.values()}):
            exec(compile(text, f"{name}.py", "exec"), vars(copy))
        modules = {k for k, v in vars(copy).items() if isinstance(v, ModuleType)}
        vars(copy).update({k: v for k, v in copies.items() if k in modules})
        copies[name] = copy
    return copies


def bare(text: str) -> str:
    """Leave out the comments."""
    return re.sub(r"(?m)^ *# .*\n|  # .*$", "", text)
