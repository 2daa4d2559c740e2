"""How much of a thing a test does: little in `make test`, much in `make torture`."""

import os

import pytest

TORTURE = os.environ.get("CAROUSEL_TORTURE") == "1"

torture = pytest.mark.torture  # has a long form, which `make torture` runs
torture_only = pytest.mark.skipif(not TORTURE, reason="takes minutes: make torture runs it")


def amount(quick: int, full: int) -> int:
    """Return how many trials a test makes."""
    return full if TORTURE else quick
