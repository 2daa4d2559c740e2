"""Tensors over the prime field: exact arithmetic, and derivatives beside it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from carousel.ops.layer_norm import normalise
from carousel.ops.softmax import softmax
from carousel.verify import rules
from carousel.verify.finite_field import field, plain, tangent
from carousel.verify.modular_arithmetic import (
    P,
    contracted,
    draw,
    inverse,
    product,
    residue,
    times,
    total,
)

residues = st.one_of(st.integers(0, P - 1), st.sampled_from([0, 1, 2**31, 2**60, P - 1]))


@given(residues, residues)
def test_products_are_those_of_the_integers_modulo_p(a: int, b: int) -> None:
    assert times(torch.tensor(a), torch.tensor(b)).item() == a * b % P


@given(st.lists(residues, min_size=1, max_size=50))
def test_sums_are_those_of_the_integers_modulo_p(numbers: list[int]) -> None:
    assert total(torch.tensor(numbers), 0).item() == sum(numbers) % P


def test_a_product_of_matrices_is_that_of_the_integers_modulo_p() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = draw((2, 3, 4), generator), draw((4, 5), generator)
    want = (a.numpy().astype(object) @ b.numpy().astype(object)) % P
    assert product(a, b).tolist() == want.tolist()


@given(residues)
def test_an_inverse_is_one_but_that_of_zero(a: int) -> None:
    b = inverse(torch.tensor([a]))
    assert times(b, torch.tensor([a])).item() == (1 if a % P else 0)


@pytest.mark.parametrize("equation", ["bik,bjk->bij", "bij,bjk->bki", "ij,ij->ij", "ik,k->i"])
def test_an_einsum_is_that_of_the_integers_modulo_p(equation: str) -> None:
    sizes = {"b": 2, "i": 3, "j": 4, "k": 5}
    generator = torch.Generator().manual_seed(0)
    a, b = (
        draw(tuple(sizes[letter] for letter in letters), generator)
        for letters in equation.split("->")[0].split(",")
    )
    want = np.einsum(equation, a.numpy().astype(object), b.numpy().astype(object)) % P
    assert contracted(equation, a, b).tolist() == want.tolist()


@pytest.mark.parametrize(
    ("number", "denominator"), [(1e-5, 100_000), (0.5, 2), (-0.25, -4), (1.0, 1), (-1, -1)]
)
def test_a_decimal_fraction_is_the_inverse_of_its_denominator(
    number: float, denominator: int
) -> None:
    assert residue(number) * denominator % P == 1


def test_derivatives_follow_the_rules_of_algebra() -> None:
    """x³ + 2xy at (x, y): 3x² + 2y and 2x, through every operator that the ops use."""
    x, y = 12345678901234567, 98765432109876543
    a, b = (
        field(torch.tensor([n]), torch.eye(2, dtype=torch.int64)[:, [k]])
        for k, n in enumerate((x, y))
    )
    z = a * a * a - (-2) * (a * b) + 1 - (1 - 0 * b)
    assert plain(z).item() == (x**3 + 2 * x * y) % P
    assert tangent(z).flatten().tolist() == [(3 * x * x + 2 * y) % P, 2 * x % P]


def test_a_quotient_has_the_derivative_of_a_quotient() -> None:
    """x / y + 1 / y at (x, y): 1/y and -(x + 1)/y²."""
    x, y = 12345678901234567, 98765432109876543
    a, b = (
        field(torch.tensor([n]), torch.eye(2, dtype=torch.int64)[:, [k]])
        for k, n in enumerate((x, y))
    )
    z = a / b + 1 / b
    assert plain(z).item() == (x + 1) * pow(y, -1, P) % P
    assert tangent(z).flatten().tolist() == [pow(y, -1, P), -(x + 1) * pow(y, -2, P) % P]


def test_shares_add_up_to_one_and_what_is_hidden_gets_none() -> None:
    generator = torch.Generator().manual_seed(0)
    s = field(draw((3, 5), generator), draw((2, 3, 5), generator))
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    hidden[0, 1] = hidden[2] = True  # one of the first row, all of the last
    p = softmax(s.masked_fill(hidden, float("-inf")))
    assert plain(p.sum(-1)).tolist() == [1, 1, 0]
    assert plain(p)[hidden].tolist() == [0] * 6
    assert (plain(p)[~hidden] != 0).all()
    assert tangent(p)[:, hidden].eq(0).all()
    assert tangent(p.sum(-1)).eq(0).all()


def test_what_is_added_at_the_same_place_is_added_up() -> None:
    values = draw((9, 2), torch.Generator().manual_seed(0))
    zeros, at = field(torch.tensor([0])).new_zeros(3, 2), torch.tensor([0, 2] * 4 + [0])
    rows = zeros.index_put((at,), field(values), accumulate=True)
    again = zeros.index_add(0, at, field(values))
    columns = zeros.T.scatter_add(1, at.expand(2, 9), field(values.T))
    want = [[int(x) % P for x in sum(values.numpy().astype(object)[k::2])] for k in (0, 1)]
    assert plain(rows).tolist() == [want[0], [0, 0], want[1]]
    assert plain(again).equal(plain(rows))
    assert plain(columns).equal(plain(rows).T)


def test_what_moves_a_value_moves_its_derivatives() -> None:
    generator = torch.Generator().manual_seed(0)
    value, change = draw((4, 6), generator), draw((3, 4, 6), generator)
    x = field(value, change)
    moved = torch.stack([torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1).T, x.T])[1:].flatten(0, 1)
    assert plain(moved).equal(value.T)
    assert tangent(moved).equal(change.transpose(1, 2))
    rows = x.unbind(0)
    assert plain(rows[2]).equal(value[2])
    assert tangent(rows[2]).equal(change[:, 2])


@pytest.mark.parametrize("name", list(rules.SLOPES))
def test_a_random_function_is_a_function_whose_derivative_follows_the_rule(name: str) -> None:
    a = torch.tensor([3, 4, 3])
    y = getattr(field(a, torch.ones(1, 3, dtype=torch.int64)), name)()
    s = [int(n) for n in plain(y)]
    assert s[0] == s[2] != s[1]
    slopes = {
        "sigmoid": [n * (1 - n) % P for n in s],
        "tanh": [(1 - n * n) % P for n in s],
        "rsqrt": [-(n**3) * pow(2, -1, P) % P for n in s],
        "exp": s,
        "log": [pow(n, -1, P) for n in a.tolist()],
    }
    assert tangent(y)[0].tolist() == slopes[name]
    other = getattr(field(a), "tanh" if name == "sigmoid" else "sigmoid")()
    assert not plain(other).equal(plain(y))


def test_a_relu_passes_some_and_stops_others() -> None:
    a = draw((100,), torch.Generator().manual_seed(0))
    h = field(a, torch.ones(1, 100, dtype=torch.int64)).relu()
    passed = (h > 0).to(h.dtype)
    assert plain(h).equal(passed.long() * a)
    assert tangent(h)[0].equal(passed.long())
    assert 30 < passed.sum() < 70


def test_a_vector_that_is_normalised_has_mean_zero() -> None:
    unit, _ = normalise(field(draw((3, 5), torch.Generator().manual_seed(0))))
    assert plain(unit.sum(-1)).tolist() == [0, 0, 0]


def moving_in_place(x: Tensor) -> None:
    x[:1] += x


@pytest.mark.parametrize(
    "operation",
    [
        torch.sin,
        torch.sort,
        lambda x: x**2,
        lambda x: x.masked_fill(x > 0, 1.0),
        moving_in_place,
    ],
)
def test_what_the_field_lacks_is_refused(operation: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TypeError, match=r"the field (has no|hides|adds up)|unsupported operand"):
        operation(field(torch.tensor([1]), torch.tensor([[1]])))


def test_sympy_proves_the_rules() -> None:
    rules.unproven.cache_clear()
    assert rules.unproven() == []


@pytest.mark.parametrize("name", list(rules.SLOPES))
def test_a_wrong_rule_is_not_proven(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true = rules.SLOPES[name]
    monkeypatch.setitem(rules.SLOPES, name, lambda a, s: true(a, s) * s)
    rules.unproven.cache_clear()
    assert rules.unproven() == [name]
    rules.unproven.cache_clear()
