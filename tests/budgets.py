"""How much of a thing a test does: little in `make test`, much in `make torture` or `soak`."""

import os
import sys

import pytest

TORTURE = os.environ.get("CAROUSEL_TORTURE") == "1"
SOAK = os.environ.get("CAROUSEL_SOAK") == "1"

torture = pytest.mark.torture  # has a long form, which `make torture` runs
torture_only = pytest.mark.skipif(not TORTURE, reason="takes minutes: make torture runs it")
soak = pytest.mark.soak  # has a long form, which `make soak` runs
soak_only = pytest.mark.skipif(not SOAK, reason="takes minutes: make soak runs it")


def amount(quick: int, full: int) -> int:
    """Return how many trials a test makes."""
    return full if TORTURE else quick


def load(quick: int, full: int) -> int:
    """Return how many requests, clients or seconds a test of the server takes."""
    return full if SOAK else quick


def say(figure: str) -> None:
    """Tell a measured figure, where `pytest -s` lets it through."""
    sys.stdout.write(f"{figure}\n")
