"""Muon: its update is orthogonal within the stated bound, and knows neither scale nor basis."""

import numpy as np
import pytest
import torch
from torch import Tensor

from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.training.optimizers import (
    BOUND,
    LEAST,
    MOMENTUM,
    QUINTIC,
    STEPS,
    Muon,
    build_optimizers,
    is_for_muon,
    orthogonalized,
)
from training.small_runs import settings

SHAPES = [(8, 8), (64, 16), (16, 64), (256, 64), (1, 7), (7, 1), (1, 1)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def with_singular_values(shape: tuple[int, int], values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, V and U S Vᵀ with random U, V, in float64."""
    generator = torch.Generator().manual_seed(sum(shape))
    k = min(shape)
    u, v = (torch.randn(n, k, generator=generator, dtype=torch.float64) for n in shape)
    u, v = torch.linalg.qr(u).Q, torch.linalg.qr(v).Q
    return u, v, u @ values.double().diag() @ v.T


def quintic(s: Tensor) -> Tensor:
    a, b, c = QUINTIC
    for _ in range(STEPS):
        s = a * s + b * s**3 + c * s**5
    return s


def test_the_bound_is_that_of_the_polynomial() -> None:
    ends = quintic(torch.linspace(LEAST, 1, 1_000_001, dtype=torch.float64))
    least, most = BOUND
    assert least <= ends.min() < least + 0.01
    assert most - 0.01 < ends.max() <= most
    assert quintic(torch.tensor(LEAST / 2).double()) < least  # it is the bound of LEAST
    small = torch.linspace(0, LEAST, 10_001, dtype=torch.float64)
    assert (quintic(small).diff() > 0).all()  # what is smaller becomes less


@each_shape
def test_it_is_orthogonal_within_the_bound(shape: tuple[int, int]) -> None:
    values = torch.linspace(0.05, 1, min(shape))
    _, _, g = with_singular_values(shape, values)
    o = orthogonalized(g.float())
    assert o.shape == g.shape
    assert o.dtype == torch.float32
    found = torch.linalg.svdvals(o.double())
    least, most = BOUND
    assert least - 1e-3 <= found.min() <= found.max() <= most + 1e-3


@each_shape
def test_it_is_the_polynomial_of_each_singular_value(shape: tuple[int, int]) -> None:
    """Of the polar decomposition U Vᵀ in float64 only the lengths of its directions differ."""
    values = torch.linspace(0.02, 3, min(shape))
    u, v, g = with_singular_values(shape, values)
    lengths = quintic(values.double() / values.double().norm())
    want = u @ lengths.diag() @ v.T
    torch.testing.assert_close(orthogonalized(g), want, rtol=0, atol=1e-4)  # its product: float32
    polar = u @ v.T
    nearness = (orthogonalized(g) * polar).sum() / min(shape)
    assert nearness == pytest.approx(float(lengths.mean()), abs=1e-4)


def test_more_steps_of_a_settling_polynomial_are_the_polar_decomposition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The iteration itself, with the coefficients whose fixed point is 1: (15, -10, 3) / 8."""
    monkeypatch.setattr("carousel.training.optimizers.QUINTIC", (15 / 8, -10 / 8, 3 / 8))
    monkeypatch.setattr("carousel.training.optimizers.STEPS", 40)
    u, v, g = with_singular_values((24, 10), torch.linspace(0.1, 1, 10))
    got = orthogonalized(g, torch.float64)
    torch.testing.assert_close(got, u @ v.T, rtol=0, atol=1e-12)


@each_shape
def test_scale_does_not_matter(shape: tuple[int, int]) -> None:
    _, _, g = with_singular_values(shape, torch.linspace(0.1, 1, min(shape)))
    want = orthogonalized(g.float())
    for power in (-120, -60, 60, 120):  # exact: products with powers of 2 round nothing
        torch.testing.assert_close(orthogonalized(g.float() * 2.0**power), want)


def test_the_basis_does_not_matter() -> None:
    """Turned inputs or outputs give a turned update: Adam's, entry by entry, does not do so."""
    _, _, g = with_singular_values((12, 9), torch.linspace(0.1, 1, 9))
    left, right = (torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q for n in (12, 9))
    got = orthogonalized(left @ g @ right, torch.float64)
    torch.testing.assert_close(got, left @ orthogonalized(g, torch.float64) @ right)
    turned = orthogonalized(g.T, torch.float64).T
    torch.testing.assert_close(turned, orthogonalized(g, torch.float64))


def test_zeros_stay_zeros() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_bf16_is_near() -> None:
    """Eight bits of each product: its directions, and not their lengths, are what counts."""
    _, _, g = with_singular_values((256, 64), torch.linspace(0.02, 1, 64))
    exact, rough = orthogonalized(g.float()), orthogonalized(g.float(), torch.bfloat16)
    assert rough.dtype == torch.float32
    assert ((rough - exact).norm() / exact.norm()) < 0.05
    found = torch.linalg.svdvals(rough)
    assert BOUND[0] - 0.1 <= found.min() <= found.max() <= BOUND[1] + 0.1


def test_the_update_against_the_equations() -> None:
    """(muon.1) to (muon.4), written out in float64 with a singular value decomposition."""
    generator = torch.Generator().manual_seed(0)
    shapes, rate, decay = [(12, 3), (3, 12)], 0.1, 0.25
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    muon = Muon([{"params": weights, "lr": rate, "weight_decay": decay}])
    want = [w.detach().double().numpy().copy() for w in weights]
    momentum = [np.zeros(shape) for shape in shapes]
    for _ in range(4):
        for w, m, weight in zip(want, momentum, weights, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator)
            g = weight.grad.double().numpy()
            m[:] = MOMENTUM * m + g
            u, s, vt = np.linalg.svd(g + MOMENTUM * m, full_matrices=False)
            s = quintic(torch.from_numpy(s / np.sqrt((s**2).sum()))).numpy()
            rows, columns = w.shape
            w *= 1 - rate * decay
            w -= rate * max(1, rows / columns) ** 0.5 * (u * s) @ vt
        muon.step()
    for weight, w in zip(weights, want, strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), w, atol=2e-4)


def test_a_matrix_without_a_gradient_stays() -> None:
    w = torch.nn.Parameter(torch.ones(2, 3))
    Muon([{"params": [w], "lr": 1.0, "weight_decay": 0.5}]).step()
    assert torch.equal(w, torch.ones(2, 3))


def test_it_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"for matrices, got one of shape \(3,\)"):
        Muon([{"params": [torch.nn.Parameter(torch.ones(3))], "lr": 1.0, "weight_decay": 0.0}])


@pytest.mark.parametrize(
    ("config", "want"),
    [
        (ModelConfig(num_layers=2), "weight_ih_l0 weight_hh_l0 weight_ih_l1 weight_hh_l1"),
        (ModelConfig(proj_size=8, peephole=True), "weight_ih_l0 weight_hh_l0 weight_hr_l0"),
        (ModelConfig(layer_norm=True), "weight_ih_l0 weight_hh_l0"),
        (ModelConfig(model="mlp", num_layers=2), "layers.0.weight layers.1.weight"),
        (
            ModelConfig(model="transformer", positions="learned", tie_weights=True),
            "in_proj.weight out_proj.weight expand.weight contract.weight",
        ),
    ],
)
def test_it_has_the_matrices_between_features(config: ModelConfig, want: str) -> None:
    """And of others only the tables, of characters and of places, are left to Adam."""
    matrices = {name for name, p in build(config, 11).named_parameters() if p.dim() == 2}
    chosen = {name for name, p in build(config, 11).named_parameters() if is_for_muon(name, p)}
    assert all(name.endswith(tuple(want.split())) for name in chosen)
    assert len(chosen) == len(want.split())
    assert matrices - chosen <= {"embedding.weight", "output.weight", "body.places"}


def test_each_parameter_has_one_rule() -> None:
    model = build(ModelConfig(num_layers=2), 11)
    adam, muon = build_optimizers(model, settings(optimizer="muon").training).rules
    groups = [group for rule in (adam, muon) for group in rule.param_groups]
    shared = [id(p) for group in groups for p in group["params"]]
    assert sorted(shared) == sorted(id(p) for p in model.parameters())
    assert {type(adam), type(muon)} == {torch.optim.AdamW, Muon}
