"""Update rules by name."""

import torch
from torch import nn

from carousel.training.config import TrainingConfig


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser over the model's parameters, in their order.

    Adam: Kingma and Ba 2015. AdamW: Loshchilov and Hutter 2019; it decays matrices only, since
    pulling a bias or a gain towards zero regularises nothing.
    """
    parameters = list(model.parameters())
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.peak)
    groups = [
        {"params": [p], "weight_decay": config.weight_decay if p.dim() > 1 else 0.0}
        for p in parameters
    ]
    return torch.optim.AdamW(groups, lr=config.peak)
