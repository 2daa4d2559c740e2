"""Dataclasses from tables: what fits is taken, what does not is named."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.errors import ConfigError
from carousel.tables import from_table


@dataclass(frozen=True)
class Example:
    """One field of each kind."""

    whole: int = 1
    number: float = 0.5
    flag: bool = False
    text: str = "x"
    choice: Literal["red", "green"] = "red"
    limit: int | None = None
    parts: tuple[float, ...] = ()


tables = st.fixed_dictionaries(
    {},
    optional={
        "whole": st.integers(),
        "number": st.floats(allow_nan=False) | st.integers(),
        "flag": st.booleans(),
        "text": st.text(),
        "choice": st.sampled_from(["red", "green"]),
        "limit": st.none() | st.integers(),
        "parts": st.lists(st.floats(allow_nan=False)),
    },
)


@given(tables)
def test_a_table_that_fits_is_taken_as_it_is(table: dict[str, Any]) -> None:
    built = asdict(from_table(Example, table))
    expected = asdict(Example()) | table
    assert built == expected | {"parts": tuple(expected["parts"])}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"hole": 1}, "no setting named hole in a.toml; there are ['whole', 'number', "),
        ({"whole": 1.0}, "whole in a.toml must be a whole number, got 1.0"),
        ({"whole": True}, "whole in a.toml must be a whole number, got True"),
        ({"number": "1"}, "number in a.toml must be a finite number, got '1'"),
        ({"number": False}, "number in a.toml must be a finite number, got False"),
        ({"flag": 1}, "flag in a.toml must be true or false, got 1"),
        ({"text": 1}, "text in a.toml must be a text, got 1"),
        ({"choice": "blue"}, "choice in a.toml must be one of 'red', 'green', got 'blue'"),
        ({"choice": ["red"]}, "choice in a.toml must be one of 'red', 'green', got ['red']"),
        ({"limit": "no"}, "limit in a.toml must be a whole number or nothing, got 'no'"),
        ({"parts": [1.0, "x"]}, "parts in a.toml must be"),
        ({"whole": {"deep": 1}}, "whole in a.toml must be a whole number, got {'deep': 1}"),
        ([1], "a.toml must be a table, got [1]"),
        ("whole", "a.toml must be a table, got 'whole'"),
        (
            {"whole": 16**5000},
            "whole in a.toml must be a whole number, got a number of hundreds of",
        ),
        ({"number": 2**1024 - 1}, "number in a.toml must be a finite number, got a number of"),
        ({"parts": [16**5000]}, "parts in a.toml must be a list of numbers, got a number of"),
        ({"parts": [[16**5000]]}, "parts in a.toml must be"),
        ({"whole": {"deep": 16**5000}}, "whole in a.toml must be a whole number, got something"),
        ([16**5000], "a.toml must be a table, got something"),
    ],
)
def test_what_does_not_fit_is_named(table: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(Example, table, where="a.toml")
    assert str(caught.value).startswith(message)
