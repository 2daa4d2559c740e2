"""Update rules by name. Labels such as (muon.4) are of math/optimization/equations.md."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from carousel.training.config import TrainingConfig

# (muon.3): the quintic of Jordan et al. 2024, steepest at zero. It does not settle at 1: what it
# has been applied to STEPS times lies in BOUND, if it began at LEAST or above.
QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5
LEAST, BOUND = 0.0016, (0.68, 1.21)
MOMENTUM = 0.95


class Optimizers(NamedTuple):
    """Update rules that share the parameters of a model between them.

    Each group of parameters keeps its own peak learning rate as `initial_lr`.
    """

    rules: tuple[torch.optim.Optimizer, ...]

    def step(self, lr_scale: float) -> None:
        """Run one step with this fraction of the peak learning rates."""
        for rule in self.rules:
            for group in rule.param_groups:
                group["lr"] = lr_scale * group["initial_lr"]
            rule.step()

    @property
    def state(self) -> dict[Tensor, dict[str, Tensor]]:
        """The optimiser's slots of each parameter, by name; empty before its first step."""
        return {p: rule.state.get(p, {}) for rule, p in self._owners()}

    def set_state(self, state: dict[Tensor, dict[str, Tensor]]) -> None:
        """Restore what `state` returned."""
        for rule, p in self._owners():
            rule.state[p] = state[p]

    @property
    def slots(self) -> dict[Tensor, set[str]]:
        """The names of what is kept of each parameter, once it has stepped."""
        return {p: SLOTS[type(rule)] for rule, p in self._owners()}

    def _owners(self) -> Iterable[tuple[torch.optim.Optimizer, Tensor]]:
        for rule in self.rules:
            for group in rule.param_groups:
                for p in group["params"]:
                    yield rule, p


def build_optimizers(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """Return the configured rules over the model's parameters.

    Adam: Kingma and Ba 2015. AdamW: Loshchilov and Hutter 2019; it decays matrices only, since
    pulling a bias or a gain towards zero regularises nothing. Muon: Jordan et al. 2024, of the
    matrices that turn features into features; AdamW of all else.
    """
    named = list(model.named_parameters())
    muons = [p for name, p in named if config.optimizer == "muon" and is_for_muon(name, p)]
    others = [p for _, p in named if not any(p is own for own in muons)]
    rules: list[torch.optim.Optimizer] = []
    if others and config.optimizer == "adam":
        rules.append(torch.optim.Adam([_group(others, config.peak)]))
    elif others:
        decays = [config.weight_decay if p.dim() > 1 else 0.0 for p in others]
        groups = [
            _group([p], config.peak, weight_decay=decay)
            for p, decay in zip(others, decays, strict=True)
        ]
        rules.append(torch.optim.AdamW(groups))
    if muons:
        compute_dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        group = _group(muons, config.muon_learning_rate, weight_decay=config.weight_decay)
        rules.append(Muon([group], compute_dtype))
    return Optimizers(tuple(rules))


def is_for_muon(name: str, p: Tensor) -> bool:
    """Return whether a parameter is a matrix between features: no table of characters or places.

    What reads or writes characters, one row each, is no map whose directions are all alike.
    """
    tables = ("embedding.", "output.", "body.places")
    return p.dim() == 2 and not name.startswith(tables)


def _group(parameters: list[nn.Parameter], peak: float, **settings: Any) -> dict[str, Any]:
    return {"params": parameters, "lr": peak, "initial_lr": peak, **settings}


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal: every direction of a matrix moves equally far.

    Of each matrix it keeps the momentum, half of what Adam keeps.
    """

    def __init__(
        self, groups: list[dict[str, Any]], compute_dtype: torch.dtype = torch.float32
    ) -> None:
        """Create the optimiser for groups of matrices, each with lr and weight_decay.

        Args:
            groups: As torch's optimisers take them.
            compute_dtype: Type of the numbers that (muon.3) multiplies.

        Raises:
            ValueError: If a parameter is no matrix.
        """
        super().__init__(groups, {})
        self._compute_dtype = compute_dtype
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(f"Muon is for matrices, got one of shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(w)}
                state["step"] += 1
                m = state["momentum"].mul_(MOMENTUM).add_(w.grad)  # (muon.1)
                u = torch.add(w.grad, m, alpha=MOMENTUM)  # (muon.2)
                o = orthogonalized(u, self._compute_dtype)  # (muon.3)
                rows, columns = w.shape
                scale = max(1.0, rows / columns) ** 0.5
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.add_(o, alpha=-group["lr"] * scale)  # (muon.4)


def orthogonalized(u: Tensor, compute_dtype: torch.dtype = torch.float32) -> Tensor:
    """Return about U Vᵀ of a matrix u = U S Vᵀ: the nearest with orthonormal rows or columns.

    Five Newton-Schulz steps, matrix products alone. A singular value of at least LEAST times the
    Frobenius norm of u becomes one within BOUND; smaller ones become less. Of zeros come zeros.

    Args:
        u: Matrix (M, N), of any scale.
        compute_dtype: Type in which it is multiplied.

    Returns:
        (M, N), of u's type.
    """
    is_tall = u.shape[0] > u.shape[1]
    x = u.T if is_tall else u  # the Gram matrix is then the smaller one
    largest = x.abs().max().clamp(min=torch.finfo(x.dtype).tiny)
    x = x / largest  # its square neither overflows nor vanishes
    x = (x / x.norm().clamp(min=1e-7)).to(compute_dtype)
    a, b, c = QUINTIC
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if is_tall else x).to(u.dtype)


# What each rule keeps of a parameter.
SLOTS: dict[type, set[str]] = {
    torch.optim.Adam: {"exp_avg", "exp_avg_sq", "step"},
    torch.optim.AdamW: {"exp_avg", "exp_avg_sq", "step"},
    Muon: {"momentum", "step"},
}
