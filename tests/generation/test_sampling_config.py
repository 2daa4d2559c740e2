"""Sampling settings are checked when they are made."""

import math
import subprocess
import sys

import pytest

from carousel.errors import ConfigError
from carousel.generation.config import SamplingConfig


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0, "top_k": 10**30, "top_p": 1, "min_p": 0, "repetition_penalty": 100},
        {"temperature": 1e308, "top_k": 1, "top_p": 5e-324, "min_p": 1, "repetition_window": 1},
        {"candidates": 64},
        {"seed": 2**64 - 1, "repetition_window": 1_000_000, "repetition_penalty": 5e-324},
    ],
)
def test_takes_what_defines_a_distribution(settings: dict[str, float]) -> None:
    SamplingConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature must be a finite number, at least 0, got -0.1"),
        ({"temperature": math.nan}, "temperature must be a finite number, at least 0, got nan"),
        ({"temperature": math.inf}, "temperature must be a finite number, at least 0, got inf"),
        ({"temperature": True}, "temperature must be a finite number, at least 0, got True"),
        ({"temperature": "1"}, "temperature must be a finite number, at least 0, got '1'"),
        ({"temperature": None}, "temperature must be a finite number, at least 0, got None"),
        (
            {"temperature": 10**400},
            "temperature must be a finite number, at least 0, got a number of",
        ),
        ({"top_k": 0}, "top_k must be a whole number, at least 1, got 0"),
        ({"top_k": 2.0}, "top_k must be a whole number, at least 1, got 2.0"),
        ({"top_k": True}, "top_k must be a whole number, at least 1, got True"),
        ({"top_p": 0}, "top_p must be a finite number, above 0, at most 1, got 0"),
        ({"top_p": 1.001}, "top_p must be a finite number, above 0, at most 1, got 1.001"),
        ({"min_p": -1}, "min_p must be a finite number, at least 0, at most 1, got -1"),
        ({"min_p": math.nan}, "min_p must be a finite number, at least 0, at most 1, got nan"),
        ({"repetition_penalty": 0}, "repetition_penalty must be a finite number, above 0, at most"),
        ({"repetition_penalty": 1e3}, "repetition_penalty must be a finite number, above 0, at"),
        ({"repetition_window": 0}, "repetition_window must be a whole number, at least 1, at most"),
        ({"repetition_window": 10**7}, "repetition_window must be a whole number, at least 1, at"),
        ({"candidates": 0}, "candidates must be a whole number, at least 1, at most 64, got 0"),
        ({"candidates": 65}, "candidates must be a whole number, at least 1, at most 64, got 65"),
        ({"seed": -1}, "seed must be a whole number, at least 0, at most 2^64 - 1"),
        ({"seed": 2**64}, "seed must be a whole number, at least 0, at most 2^64 - 1"),
        ({"seed": 10**5000}, "got a number of hundreds of digits"),
    ],
)
def test_refuses(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SamplingConfig(**settings)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_needs_no_torch() -> None:
    code = "import sys, carousel.generation.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
