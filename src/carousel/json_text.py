"""JSON as its standard has it (RFC 8259), which knows no NaN or infinity."""

import json
import math
from typing import Any

from carousel.plain_paths import readable


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON: null for what is not finite, U+FFFD where a name is not UTF-8."""
    dumped = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return readable(dumped)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
