"""zstd for tests: of the standard library from Python 3.14 on, as in carousel.data.sources."""

import sys
from importlib import import_module
from typing import Any

zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
