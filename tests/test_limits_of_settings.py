"""Types and limits are declared once with a field, and every config checks them."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pytest

from carousel.errors import ConfigError
from carousel.generation.config import SamplingConfig
from carousel.limits import Limits, bounded, check_fields, check_integer
from carousel.models.config import CONFIGS
from carousel.server import request
from carousel.training.config import DataConfig, TrainingConfig
from carousel.training.supervised_config import SupervisedConfig


@dataclass(frozen=True)
class Example:
    whole: int = bounded(3, at_least=1, at_most=9)
    number: float | None = bounded(None, above=0, below=1)
    choice: Literal["red", "green"] = "red"
    flag: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"whole": 0}, "whole must be a whole number, at least 1, at most 9, got 0"),
        ({"whole": 10}, "whole must be a whole number, at least 1, at most 9, got 10"),
        ({"whole": True}, "whole must be a whole number, at least 1, at most 9, got True"),
        ({"whole": 2.0}, "whole must be a whole number, at least 1, at most 9, got 2.0"),
        ({"whole": None}, "whole must be a whole number, at least 1, at most 9, got None"),
        ({"number": 0}, "number must be a finite number, above 0, below 1, got 0"),
        ({"number": 1.0}, "number must be a finite number, above 0, below 1, got 1.0"),
        ({"number": float("nan")}, "number must be a finite number, above 0, below 1, got nan"),
        ({"choice": "blue"}, "choice must be one of 'red', 'green', got 'blue'"),
        ({"flag": 1}, "flag must be true or false, got 1"),
    ],
)
def test_a_value_out_of_range_or_of_another_type_is_named(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Example(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_values_at_their_limits_are_taken() -> None:
    Example(whole=1, number=1e-300)
    Example(whole=9, number=1 - 1e-9)
    check_integer("seed", 2**64 - 1, at_least=0, at_most=2**64 - 1)  # exact, not as a float
    with pytest.raises(ConfigError, match=r"at most 2\^64 - 1"):
        check_integer("seed", 2**64, at_least=0, at_most=2**64 - 1)


def test_integers_of_numpy_become_those_of_python() -> None:
    assert type(Example(whole=np.int64(4)).whole) is int  # type: ignore[arg-type]


def test_no_limit_lets_infinity_or_nan_through() -> None:
    assert not Limits().hold(float("inf"))
    assert not Limits(at_least=0).hold(float("nan"))


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig,
        TrainingConfig,
        DataConfig,
        SupervisedConfig,
        *CONFIGS.values(),
    ],
)
def test_every_number_of_every_config_has_limits(config: type) -> None:
    for each in fields(config):
        if each.type in ("int", "float") or each.type in (int, float):
            assert each.metadata, f"{config.__name__}.{each.name} may be anything"


def test_requests_have_the_limits_of_sampling_or_narrower_ones() -> None:
    for each in fields(SamplingConfig):
        if each.name == "seed":
            continue
        field, limits = request._SUPPORTED[each.name], each.metadata["limits"]
        assert field.low == max(limits.at_least, limits.above)
        assert field.high <= limits.at_most
