"""Update rules: the ones that are named, with the decay where it belongs."""

import torch
from torch import Tensor, nn

from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.training.optimizers import build_optimizers
from training.small_runs import settings


def updated(name: str, weight_decay: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters before and after one step of 1e-2 along random gradients."""
    torch.manual_seed(0)
    model = build(ModelConfig(embedding_size=3, hidden_size=4), 5)
    for p in model.parameters():
        nn.init.normal_(p)
        p.grad = torch.randn_like(p)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    build_optimizers(model, settings(optimizer=name, weight_decay=weight_decay).training).step(1.0)
    return before, {name: p.detach() for name, p in model.named_parameters()}


def test_adam_is_adam() -> None:
    """Against the formulas of Kingma and Ba 2015, algorithm 1."""
    torch.manual_seed(0)
    model = build(ModelConfig(embedding_size=3, hidden_size=4), 5)
    optimizers = build_optimizers(model, settings(optimizer="adam", learning_rate=0.1).training)
    theta = {name: p.detach().double() for name, p in model.named_parameters()}
    m, v = ({name: torch.zeros_like(p) for name, p in theta.items()} for _ in range(2))
    for t in (1, 2, 3):
        for name, p in model.named_parameters():
            p.grad = torch.randn_like(p)
            g = p.grad.double()
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            m_hat, v_hat = m[name] / (1 - 0.9**t), v[name] / (1 - 0.999**t)
            theta[name] = theta[name] - 0.1 * m_hat / (v_hat.sqrt() + 1e-8)
        optimizers.step(1.0)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.double(), theta[name], rtol=1e-4, atol=1e-6, msg=name)


def test_adamw_decays_matrices_and_nothing_else() -> None:
    """Without decay AdamW is Adam; with it, a matrix W also loses rate · decay · W."""
    _, adam = updated("adam", weight_decay=0.5)
    before, plain = updated("adamw", weight_decay=0.0)
    _, decayed = updated("adamw", weight_decay=0.5)
    for name in adam:
        torch.testing.assert_close(plain[name], adam[name], rtol=1e-6, atol=1e-7)
        lost = 1e-2 * 0.5 * before[name] * (before[name].dim() == 2)
        torch.testing.assert_close(decayed[name], plain[name] - lost, msg=name)
