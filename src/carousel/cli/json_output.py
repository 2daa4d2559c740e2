"""What `--json` prints: JSON as its standard has it (RFC 8259), which knows no NaN or infinity."""

import json
import math
from typing import Any


def dump_json(value: Any, *, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """Return a value as JSON; a number that is not finite becomes null."""
    finite = _finite(value)
    return json.dumps(finite, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
