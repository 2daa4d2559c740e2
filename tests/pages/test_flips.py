"""The flips of tests/pages/equations.py, on lines whose flips are known."""

import ast

import pytest

from pages.equations import Block, checked, flipped


def flips(line: str) -> list[str]:
    block = Block(f"{line}  # (x.1)\n", 1)
    (found,) = checked(block)
    return list(flipped(block, found.statement))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("y = a + b - c", ["y = a + b + c", "y = a - b - c"]),
        ("y = -a * b", ["y = +a * b"]),
        ("y[t + 1] = a * b[t - 1].sum(-1)", ["y[t + 1] = -(a * b[t - 1].sum(-1))"]),
        ("assert a <= b * c", ["assert a <= -(b * c)"]),
        ("assert_close(a, b, atol=1 - 2)", ["assert_close(a, -b, atol=1 - 2)"]),
        ("y += a", ["y -= a"]),
    ],
)
def test_flips(line: str, expected: list[str]) -> None:
    assert [flip.strip() for flip in flips(line)] == [ast.unparse(ast.parse(e)) for e in expected]


def test_labels_stand_at_the_end_of_a_statement() -> None:
    block = Block("y = f(\n    a,\n)  # by (x.1), (x.2)\nz = 1  # (x.3) is above\n", 1)
    (found,) = checked(block)
    assert found.labels == ("x.1", "x.2")
