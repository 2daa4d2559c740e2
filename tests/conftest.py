"""Shapes in signatures are checked while testing, and cost nothing otherwise."""

import sys
from pathlib import Path

from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared" / "corpora"  # optional: real texts, never part of the project

sys.path.insert(0, str(Path(__file__).parent))  # for the checker below
# Must stand before the first import of what it checks.
install_import_hook(["carousel.ops", "carousel.kernels", "carousel.models"], "shape_checker.check")
